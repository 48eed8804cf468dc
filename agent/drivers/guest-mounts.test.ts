import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { passableDirectory } from '../../test/passable-directory.ts';
import type { GuestMount } from './driver.ts';
import { placeMounts, resolveInRoot } from './guest-mounts.ts';

/** A root with links of every kind, and a volume whose guest left links in it. */
async function newRoot() {
  const folder = await passableDirectory('root');
  const [root, volume] = [path.join(folder.path, 'root'), path.join(folder.path, 'volume')];
  for (const place of ['etc', 'var/lib', 'run', 'proc'])
    await mkdir(path.join(root, place), { recursive: true });
  await mkdir(volume);
  await writeFile(path.join(root, 'etc/file'), '');
  const links = {
    'var/run': '/run',
    a: 'var/lib',
    up: '../../../../etc',
    loop: 'loop',
    x: '/a/../b',
    here: '.',
    deep: '/run',
  };
  for (const [name, target] of Object.entries(links)) await symlink(target, path.join(root, name));
  for (const [name, target] of [
    ['to-proc', '/proc'],
    ['out', '../../../..'],
  ] as const)
    await symlink(target, path.join(volume, name));
  return { root, volume, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe('a path inside a root', () => {
  it.each([
    ['/srv/data', '/srv/data'],
    ['/var/run/x', '/run/x'],
    ['/a/x/y', '/var/lib/x/y'],
    ['/up', '/etc'],
    ['/up/../../..', '/'],
    ['/x', '/var/b'],
    ['/etc/file/deeper', '/etc/file/deeper'],
    ['/', '/'],
  ])('%s leads to %s', async (place, wanted) => {
    await using tree = await newRoot();
    expect(await resolveInRoot(tree.root, place)).toBe(wanted);
  });

  it('has an end', async () => {
    await using tree = await newRoot();
    await expect(resolveInRoot(tree.root, '/loop/x')).rejects.toMatchObject({ kind: 'invalid-argument' });
  });
});

describe('the volumes of a guest', () => {
  const at = (source: string, target: string): GuestMount => ({ source, target, readOnly: false });

  it('are placed without links, the outer one first', async () => {
    await using tree = await newRoot();
    const wanted = [
      at(tree.volume, '/a/data/inner'),
      at(tree.volume, '/var/run/x'),
      at(tree.volume, '/a/data'),
    ];
    const placed = await placeMounts(tree.root, wanted);
    expect(placed.map(({ target }) => target)).toEqual(['/run/x', '/var/lib/data', '/var/lib/data/inner']);
  });

  it('are found also where a link leads into another one', async () => {
    await using tree = await newRoot();
    // The first is the shallower one as it is written, and the deeper one where it leads.
    const wanted = [at(tree.volume, '/run/x/y'), at(tree.volume, '/here/here/deep/x')];
    expect((await placeMounts(tree.root, wanted)).map(({ target }) => target)).toEqual([
      '/run/x',
      '/run/x/y',
    ]);
  });

  it.each([
    [['/data', '/data/to-proc'], 'it leads to /proc in this root'],
    [['/data', '/data/out'], 'it leads to / in this root'],
    [['/data', '/data/out/proc/x'], 'it leads to /proc/x in this root'],
    [['/a/data', '/var/lib/data'], 'two volumes lead to /var/lib/data'],
  ])('%j are refused, also for a link in a volume', async (targets, why) => {
    await using tree = await newRoot();
    const placed = placeMounts(
      tree.root,
      targets.map((target) => at(tree.volume, target)),
    );
    await expect(placed).rejects.toMatchObject({
      kind: 'invalid-argument',
      message: expect.stringContaining(why) as string,
    });
  });
});
