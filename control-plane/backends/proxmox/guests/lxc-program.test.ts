import { describe, expect, it } from 'vitest';
import { cannotRun, foundProgram, programChanges } from './lxc-program.ts';

const newest = { major: 9, minor: 2 };
const plain = { image: 'proxmox:local:vztmpl/a.tar.gz', command: [], env: {} };
const pulled = { ...plain, image: `r.example/web:1@sha256:${'a'.repeat(64)}` };
const none = { set: {}, unset: [] };

describe('the program of a container', () => {
  it.each([
    { major: 8, minor: 4 },
    { major: 9, minor: 0 },
  ])('cannot be set on $major.$minor', (version) => {
    expect(cannotRun({ command: ['/bin/sh'], env: { A: '1' } }, version)).toEqual([
      expect.stringMatching(/^command: .*9\.1/),
      expect.stringMatching(/^env: .*9\.1/),
    ]);
  });

  it.each(['a b', '', "it's", 'a"b', 'a\\b', 'a\nb', 'a\u0001b', 'a\u007Fb', 'a\tb'])(
    'has no word such as %j',
    (word) => {
      expect(cannotRun({ command: ['/bin/sh', word], env: {} }, newest)).toEqual([
        expect.stringMatching(/^command: /),
      ]);
    },
  );

  it.each([
    ['a.b', '1'],
    ['a-b', '1'],
    ['A', 'x\nentrypoint: /bin/evil'],
    ['A', 'x\0B=1'],
    ['A', 'x\u001B[2J'],
    ['A', 'blank '],
  ])('has no variable %j of %j', (name, value) => {
    expect(cannotRun({ command: [], env: { [name]: value } }, newest)).toEqual([
      expect.stringMatching(new RegExp(`^env: "?${name}`)),
    ]);
  });

  it('can have what fits, also what looks like more', () => {
    const env = { _A1: 'a=b, c;"d"\'e\' \\ $F', TAB: 'a\tb', EMPTY: '', __proto: 'x' };
    expect(cannotRun({ command: ['/bin/sh', '-c', 'a=b;$(c)'], env }, newest)).toEqual([]);
  });

  it('is as it was where spec and configuration say the same in another order', () => {
    const config = { entrypoint: '/bin/web  -p 80', env: 'B=2\0A=1' };
    const spec = { ...plain, command: ['/bin/web', '-p', '80'], env: { A: '1', B: '2' } };
    expect(programChanges(spec, config)).toEqual(none);
    expect(programChanges({ ...plain, command: ['/sbin/init'] }, {})).toEqual(none);
    expect(programChanges(plain, { entrypoint: '/sbin/init' })).toEqual(none);
  });

  it('goes with its spec, but for what came with the image of a registry', () => {
    const config = { entrypoint: '/bin/web', env: 'PATH=/bin\0A=1' };
    expect(programChanges(plain, config)).toEqual({ set: {}, unset: ['entrypoint', 'env'] });
    expect(programChanges(pulled, config)).toEqual(none);
    expect(programChanges({ ...pulled, env: { A: '2' } }, config)).toEqual({
      set: { env: 'PATH=/bin\0A=2' },
      unset: [],
    });
    expect(programChanges({ ...pulled, command: ['/sbin/init'] }, config).unset).toEqual(['entrypoint']);
  });

  it('that no spec can say stays, and is told', () => {
    const config = { entrypoint: "nginx -g 'daemon off;'", env: '1A=x\0B=2' };
    const found = foundProgram(config);
    expect(found).toMatchObject({ command: [], env: { B: '2' } });
    expect(found.notes).toEqual(["its entrypoint stays: nginx -g 'daemon off;'", 'its variable stays: 1A=x']);
    expect(programChanges({ ...plain, env: { B: '2' } }, config)).toEqual(none);
    expect(programChanges({ ...plain, env: { B: '3' } }, config).set).toEqual({ env: 'B=3\u00001A=x' });
  });
});
