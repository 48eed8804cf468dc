import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import {
  epochAmong,
  isOurTag,
  markOf,
  parseTags,
  readMark,
  tagOf,
  withMark,
  withoutMark,
  withoutTags,
  withTags,
} from './marks.ts';

const mark = {
  instanceId: '019ab3c0-1111-7abc-8def-0123456789ab' as InstanceId,
  fleetId: 'f1',
  epoch: 3,
  project: 'default',
  workload: 'web',
  vmid: 101,
  generation: 3,
};

describe('the mark of a guest', () => {
  it('is a tag and a line, and from the second epoch on one tag more', () => {
    expect(markOf(mark)).toEqual({
      tag: 'drover-0123456789ab',
      line:
        'drover:instance=019ab3c0-1111-7abc-8def-0123456789ab fleet=f1 epoch=3 workload=default/web' +
        ' vmid=101 generation=3',
      epochTag: 'drover-e3',
    });
    expect(markOf({ ...mark, epoch: 1 })).not.toHaveProperty('epochTag');
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

  it('of before there were epochs is the oldest', () => {
    const { line } = markOf(mark);
    expect(readMark(line.replace(' epoch=3', ''))).toEqual({ ...mark, epoch: 0 });
  });

  it('tells of the highest epoch among its tags, and takes nothing else for one', () => {
    expect(epochAmong(['drover-e2', 'drover-e10', 'zed'])).toBe(10);
    // The tag of an instance may begin so too.
    expect(epochAmong(['drover-e12345678901', 'drover-e0', 'drover-e', 'e9'])).toBe(0);
  });

  it('adds and takes its tag, and leaves those of others', () => {
    const tag = tagOf(mark.instanceId);
    expect(isOurTag(tag)).toBe(true);
    expect(isOurTag('drover-web')).toBe(false);
    expect(withTags(parseTags('alpha;zed'), markOf(mark))).toBe(`alpha;zed;${tag};drover-e3`);
    expect(withTags(parseTags('alpha;drover-ffffffffffff;drover-e2'), markOf(mark))).toBe(
      `alpha;${tag};drover-e3`,
    );
    expect(withTags(['alpha', 'drover-e2'], markOf({ ...mark, epoch: 1 }))).toBe(`alpha;${tag}`);
    expect(withoutTags(parseTags(`alpha,${tag} drover-e3 zed`))).toBe('alpha;zed');
    expect(parseTags(undefined)).toEqual([]);
  });
});
