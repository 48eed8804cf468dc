import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { lxcError, readLxcRun } from './lxc-log.ts';

const golden = (name: string): string =>
  readFileSync(path.join(import.meta.dirname, `../../test/golden/lxc-5.0.2/${name}.log`), 'utf8');

describe('what the log of LXC says of a run', () => {
  it.each([
    ['exit-0', { kind: 'ended', code: 0 }],
    ['exit-7', { kind: 'ended', code: 7 }],
    ['killed', { kind: 'ended', code: 137 }],
    ['halted', { kind: 'ended', code: 0 }],
    ['rebooting', { kind: 'rebooting' }],
    ['rebooted', { kind: 'began' }],
    ['missing-program', { kind: 'none' }],
    ['no-bridge', { kind: 'none' }],
  ])('%s', (name, run) => {
    expect(readLxcRun(golden(name))).toEqual(run);
  });

  it('says nothing of an end before all of it is written', () => {
    for (const name of ['exit-0', 'exit-7', 'killed', 'halted', 'rebooting']) {
      const text = golden(name);
      const whole = readLxcRun(text);
      for (let length = 0; length < text.length; length += 1) {
        const run = readLxcRun(text.slice(0, length));
        if (run.kind === 'ended') expect(run).toEqual(whole);
        else expect(['none', 'began', 'ending', 'rebooting']).toContain(run.kind);
      }
    }
  });

  it('knows an end that is not said, since another child of LXC ended in the same moment', () => {
    const said = golden('exit-0')
      .split('\n')
      .filter((line) => !line.endsWith(' exited') || line.includes('First child'));
    expect(said).toHaveLength(golden('exit-0').split('\n').length - 1);
    expect(readLxcRun(said.join('\n'))).toEqual({ kind: 'ended', code: 0 });
    const error = 'lxc-start g1 1 ERROR    start - start.c:__lxc_start:2139 - Child process is not killed';
    const broken = said.toSpliced(
      said.findIndex((line) => line.includes(':lxc_delete_network:')),
      0,
      error,
    );
    expect(readLxcRun(broken.join('\n'))).toEqual({ kind: 'began' });
  });

  it('takes no text of the guest for its end', () => {
    const forged = 'x start - y - Started "a"\nlxc_error_set_and_log: ended on error (seven)\n';
    expect(readLxcRun(forged)).toEqual({ kind: 'none' });
  });
});

describe('an error of LXC', () => {
  it.each([
    ['missing-program', 'invalid-argument', 'No such file or directory - Failed to exec "/bin/nope"'],
    ['no-bridge', 'failed-precondition', "bridge interface doesn't exist"],
    ['attach-not-running', 'failed-precondition', 'Failed to get init pid'],
    ['bad-limit', 'internal', 'Failed to set "memory.limit_in_bytes" to "rubbish"'],
  ])('%s', (name, kind, words) => {
    const error = lxcError('lxc-start', golden(name), 1, 'i');
    expect(error.kind).toBe(kind);
    expect(error.message).toContain(words);
    expect(error.message).not.toMatch(/ABORTING|another process|\p{Cc}/u);
  });

  it('without words says how lxc-start ended', () => {
    expect(lxcError('lxc-start', '', 9, 'i')).toMatchObject({
      kind: 'internal',
      message: 'lxc-start: exit 9',
    });
  });
});
