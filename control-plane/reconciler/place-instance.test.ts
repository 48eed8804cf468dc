import { describe, expect, it } from 'vitest';
import type { Digest, NodeName } from '#shared/model.ts';
import { startClusterWorld } from '../../test/cluster-world.ts';
import { until } from '../../test/until.ts';

const image = 'proxmox:local:vztmpl/debian-13.tar.zst';
const digest = `sha256:${'d'.repeat(64)}` as Digest;

describe('placing copies of what is on the storage of one node', () => {
  it('keeps them there, though spread out they would be elsewhere, and says why', async () => {
    await using world = await startClusterWorld();
    const { control, clusters } = world;
    const name = 'lab-pve2' as NodeName;
    clusters.fleet.nodes.get(name)?.images.set(image, digest);
    clusters.fleet.nodes.get(name)?.disconnect();
    await until(() => control.view.node(name)?.connected === false, { what: 'it is away' });
    clusters.fleet.nodes.get(name)?.connect();
    await until(() => control.view.node(name)?.images.has(digest) === true, { what: 'its files are known' });
    await control.apply('web', { image, runtime: 'proxmox-lxc', replicas: 3, update: { readyAfterMs: 0 } });
    world.deps.wake();
    await until(() => control.instances('web').filter(({ node }) => node !== undefined).length === 3, {
      what: 'all are placed',
    });
    expect(new Set(control.instances('web').map(({ node }) => node))).toEqual(new Set([name]));
    expect(control.instances('web')[0]?.placedBecause).toMatch(/1 of 3 nodes fit.*1 lack its image/);
    // It was asked first of where it is, and its digest is the one of there.
    expect(control.instances('web')[0]?.spec.image).toBe(`${image}@${digest}`);
  });
});
