import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Attachment, InstanceId, InstanceSpec, InstanceState, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createHost, orderFor, specFor } from '../test/agent-host.ts';
import { until } from '../test/until.ts';
import type { Agent } from './main.ts';
import { readMounts } from './volumes/mounts.ts';

const { signal } = new AbortController();
const soon = (): AbortSignal => systemClock.timeout(30_000);

/** Without a gateway and without ports: nothing of the host's own forwarding is asked for. */
const attachmentTo = (bridge: string): Attachment => ({
  network: 'lab',
  bridge,
  managedBridge: true,
  interface: 'eth0',
  mac: '02:00:00:00:21:05',
  addresses: ['10.211.77.5/24'],
  gateways: [],
  mtu: 0,
  vlan: 0,
  masquerade: false,
  nodePrivateSubnet: '',
  routes: [],
});

const wholeSpec = (image: string, runtime: string, bridge: string, volumeId: VolumeId): InstanceSpec => ({
  ...specFor(image),
  runtime,
  network: 'bridged',
  networks: [{ network: 'lab', addresses: [] }],
  volumes: [{ name: 'data', mountPath: '/data', sizeMib: 0, pool: '', readOnly: false, keep: false }],
  assigned: {
    attachments: [attachmentTo(bridge)],
    volumes: [{ name: 'data', volumeId }],
    ports: [],
  },
});

async function running(
  { instances }: Agent,
  id: InstanceId,
  wanted: (state: InstanceState) => boolean = () => true,
): Promise<InstanceState> {
  return until(
    async () => {
      const { state } = await instances.inspect(id);
      if (state.phase === 'failed') throw new Error(state.message);
      return state.phase === 'running' && wanted(state) ? state : undefined;
    },
    { what: `${id} running`, deadlineMs: 30_000 },
  );
}

/** What a command in the guest says. */
async function ask({ instances }: Agent, id: InstanceId, script: string): Promise<string> {
  const more = { env: {}, user: '', workingDir: '', project: '', size: { columns: 80, rows: 24 } };
  const command = ['/bin/sh', '-c', script];
  const start = { instance: id, command, stdin: false, tty: false, ...more };
  const session = await instances.exec(id, start, signal);
  let text = '';
  for await (const output of session.output) {
    if (output.kind === 'stdout' || output.kind === 'stderr') text += Buffer.from(output.data).toString();
  }
  return text.trim();
}

describe.each(['crun', 'lxc'])('a guest of %s with a network and a data volume', (runtime) => {
  it('has both, gets new limits as it runs, stands still, and leaves its data', {
    timeout: 90_000,
  }, async () => {
    await using host = await createHost();
    const id = systemRandom.uuidV7() as InstanceId;
    const volume = systemRandom.uuidV7() as VolumeId;
    const bridge = `drv-w${volume.slice(-8)}`;
    const spec = wholeSpec(host.image, runtime, bridge, volume);
    await using agent = await host.start();
    const { instances } = agent;
    // Also when an expectation fails: a guest that is left holds mounts and interfaces of the host.
    await using cleanUp = new AsyncDisposableStack();
    cleanUp.defer(() => instances.remove(orderFor(id, 99), 0, soon()));
    await instances.ensure(orderFor(id), spec);
    const first = await running(agent, id);
    expect(first).toMatchObject({ addresses: ['10.211.77.5'], rootPool: 'local' });
    expect(await ask(agent, id, 'cat /sys/class/net/eth0/address')).toBe('02:00:00:00:21:05');
    expect(await ask(agent, id, 'echo kept > /data/file; cat /data/file')).toBe('kept');

    const resources = { ...spec.resources, memoryMib: 96, pids: 99 };
    await instances.ensure(orderFor(id, 2), { ...spec, resources });
    const adjusted = await running(agent, id, ({ limits }) => limits?.memoryMib === 96 && limits.pids === 99);
    expect(adjusted).toMatchObject({ pid: first.pid, generation: 2 });
    const [reading] = await Array.fromAsync(instances.stats(id, 0, signal));
    expect(reading?.stats.pids).toBeGreaterThan(0);

    expect(await instances.pause(orderFor(id, 0), soon())).toMatchObject({ phase: 'paused', pid: first.pid });
    expect(await instances.resume(orderFor(id, 0), soon())).toMatchObject({ phase: 'running' });

    await instances.ensure(orderFor(id, 3), { ...spec, resources, env: { A: '1' } });
    await running(agent, id, ({ pid, generation }) => pid !== first.pid && generation === 3);
    expect(await ask(agent, id, 'cat /data/file')).toBe('kept');

    await instances.pause(orderFor(id, 0), soon());
    await instances.remove(orderFor(id, 3), undefined, soon());
    const [left] = await Array.fromAsync(instances.volumes(signal));
    expect(left).toMatchObject({ id: volume, pool: 'local', instanceId: undefined });
    await instances.removeVolume({ fleetId: orderFor(id).fleetId, fleetEpoch: 1 }, volume, soon());
    expect(await Array.fromAsync(instances.volumes(signal))).toEqual([]);
    expect(existsSync(`/sys/class/net/${bridge}`)).toBe(false);
    expect((await readMounts()).filter(({ target }) => target.startsWith(host.stateDir))).toEqual([]);
  });
});
