/** What people are told of guests, while the cluster's own list of them is old. */
import { describe, expect, it } from 'vitest';
import { container, machine, openQuickWorld, runGuest } from '../../../../test/proxmox-world.ts';

const { signal } = new AbortController();

describe.each([
  ['lxc', container],
  ['qemu', machine],
] as const)('a guest that was made a moment ago, %s', (kind, spec) => {
  it('is told as we saw it, one by one as among all, and counted', async () => {
    await using world = await openQuickWorld();
    const { instanceId, node } = await runGuest(world, spec);
    const vmid = world.store.snapshot().get('cluster-guest', instanceId)?.vmid ?? 0;
    const seen = { vmid, kind, node, status: 'running', instanceId };
    expect(world.backend.guests('lab')).toMatchObject([seen]);
    expect(world.backend.status('lab')).toMatchObject({ guests: 1, ownGuests: 1 });
    const { guest } = await world.backend.inspectGuest('lab', vmid, signal);
    expect(guest).toMatchObject(seen);
  });
});
