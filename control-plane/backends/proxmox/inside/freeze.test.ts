/** File systems of virtual machines that stand still, through their guest agent. */
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import {
  container,
  machine,
  openQuickWorld,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const versions = ['8.4.21', '9.2.11'] as const;
const freezeCall = 'POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-freeze';
const thawCall = 'POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-thaw';

const insideOf = ({ server, store }: ProxmoxWorld, id: InstanceId) => {
  const guest = server.world.guests.get(store.snapshot().get('cluster-guest', id)?.vmid ?? 0);
  if (guest === undefined) throw new Error('there is no guest');
  return guest.inside;
};
const count = ({ server }: ProxmoxWorld, what: string): number =>
  server.requests.list().filter((each) => each.includes(`fsfreeze-${what}`)).length;

/** A machine whose system is up. */
async function runMachine(world: ProxmoxWorld) {
  const order = await runGuest(world, machine);
  await until(
    () =>
      world.backend.thawInstance(order, signal).then(
        () => true,
        () => false,
      ),
    {
      what: 'an agent that answers',
    },
  );
  return order;
}

describe.each(versions)('freezing on %s', (version) => {
  it('is found done where its answer was lost, and so is thawing', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runMachine(world);
    world.server.faults.loseAnswer(freezeCall);
    expect(await world.backend.freezeInstance(order, signal)).toBe(false);
    expect(await world.backend.freezeInstance(order, signal)).toBe(true);
    expect(count(world, 'freeze')).toBe(1);
    world.server.faults.loseAnswer(thawCall);
    await world.backend.thawInstance(order, signal);
    expect(await world.backend.freezeInstance(order, signal)).toBe(false);
  });

  it('tells that nothing was frozen where it was cut off before', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runMachine(world);
    world.server.faults.cut(freezeCall, 9);
    await expect(world.backend.freezeInstance(order, signal)).rejects.toMatchObject({ kind: 'unavailable' });
    world.server.faults.reset();
    expect(await world.backend.freezeInstance(order, signal)).toBe(false);
  });

  it('tells what the agent refuses, which the cluster answers as a result, and what to do', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runMachine(world);
    const words = 'Command guest-fsfreeze-freeze has been disabled';
    insideOf(world, order.instanceId).refuses = { 'fsfreeze-freeze': words };
    await expect(world.backend.freezeInstance(order, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'guest-agent',
      message: `the guest agent refuses fsfreeze-freeze: ${words}`,
      nextStep: "allow guest-fsfreeze-freeze in the configuration of the guest's agent",
    });
  });

  it('needs an agent that answers', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runMachine(world);
    insideOf(world, order.instanceId).agent = false;
    for (const ask of [world.backend.freezeInstance, world.backend.thawInstance])
      await expect(ask(order, signal)).rejects.toMatchObject({
        kind: 'failed-precondition',
        reason: 'guest-agent',
      });
  });

  it('keeps commands out of a machine that stands still, and says why', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runMachine(world);
    await world.backend.freezeInstance(order, signal);
    const start = {
      instance: order.instanceId,
      command: ['id'],
      stdin: false,
      tty: false,
      size: { columns: 80, rows: 24 },
      env: {},
      user: '',
      workingDir: '',
      project: 'default',
    };
    const caller = { role: 'admin', name: 'root' } as const;
    await expect(world.backend.exec(order.node, start, caller, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'frozen',
      nextStep: 'let its file systems go on: drover thaw',
    });
  });

  it('is nothing for containers', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world, container);
    for (const ask of [world.backend.freezeInstance, world.backend.thawInstance])
      await expect(ask(order, signal)).rejects.toMatchObject({
        kind: 'unimplemented',
        message: 'proxmox-lxc has no freeze: only virtual machines have an agent to ask',
      });
  });
});
