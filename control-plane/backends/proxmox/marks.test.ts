import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import {
  isOurTag,
  markOf,
  parseTags,
  readMark,
  tagOf,
  withMark,
  withoutMark,
  withoutTag,
  withTag,
} from './marks.ts';

const mark = {
  instanceId: '019ab3c0-1111-7abc-8def-0123456789ab' as InstanceId,
  fleetId: 'f1',
  project: 'default',
  workload: 'web',
  vmid: 101,
  generation: 3,
};

describe('the mark of a guest', () => {
  it('is one tag and one line', () => {
    expect(markOf(mark)).toEqual({
      tag: 'drover-0123456789ab',
      line:
        'drover:instance=019ab3c0-1111-7abc-8def-0123456789ab fleet=f1 workload=default/web' +
        ' vmid=101 generation=3',
    });
  });

  it.each([
    ['an empty description', ''],
    ['one line', 'made by hand'],
    ['lines, and the newline that the cluster adds', 'first\nsecond\n'],
    ['an older mark of ours', `text\n${markOf({ ...mark, generation: 1 }).line}\n`],
    ['words that look like a mark', 'drover:instance=nobody fleet=x\nmore'],
  ])('is found behind %s, and goes without a trace', (_name, description) => {
    const marked = withMark(description, markOf(mark));
    expect(readMark(marked)).toEqual(mark);
    expect(readMark(`${marked}\n`)).toEqual(mark);
    expect(withoutMark(marked)).toBe(withoutMark(description));
    expect(withMark(marked, markOf(mark))).toBe(marked);
  });

  it('is not there where nothing says so', () => {
    for (const text of ['', 'drover', 'drover:instance=', 'drover:instance=x y', 'x drover:instance=1'])
      expect(readMark(text)).toBeUndefined();
  });

  it('comes back as it was, whatever the names are and whatever stood there', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: 'grapheme' }),
        fc.string(),
        (description, workload, fleetId) => {
          const hostile = { ...mark, workload, fleetId };
          expect(readMark(withMark(description, markOf(hostile)))).toEqual(hostile);
        },
      ),
    );
  });

  it('adds and takes its tag, and leaves those of others', () => {
    const tag = tagOf(mark.instanceId);
    expect(isOurTag(tag)).toBe(true);
    expect(isOurTag('drover-web')).toBe(false);
    expect(withTag(parseTags('alpha;zed'), tag)).toBe(`alpha;zed;${tag}`);
    expect(withTag(parseTags(`alpha;drover-ffffffffffff`), tag)).toBe(`alpha;${tag}`);
    expect(withoutTag(parseTags(`alpha,${tag} zed`))).toBe('alpha;zed');
    expect(parseTags(undefined)).toEqual([]);
  });
});
