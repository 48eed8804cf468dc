import { describe, expect, it } from 'vitest';
import type { Attachment, InstanceId, InstanceSpec, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import {
  type AgentWorld,
  type AgentWorldOptions,
  createAgentWorld,
  forever,
  phaseOf,
  reach,
} from '../../test/fakes/agent-world.ts';
import { until } from '../../test/until.ts';
import type { FaultHook, Instances } from '../instances.ts';

const { signal } = new AbortController();
const volume = systemRandom.uuidV7() as VolumeId;
const attachment: Attachment = {
  network: 'lab',
  bridge: 'drv-lab',
  managedBridge: true,
  interface: 'eth0',
  mac: '02:00:00:00:00:01',
  addresses: ['10.20.0.5/24'],
  gateways: [],
  mtu: 0,
  vlan: 0,
  masquerade: false,
  nodePrivateSubnet: '',
  routes: [],
};
const whole: Partial<InstanceSpec> = {
  restart: { policy: 'never', maxAttempts: 0 },
  network: 'bridged',
  networks: [{ network: 'lab', addresses: [] }],
  volumes: [{ name: 'data', mountPath: '/data', sizeMib: 0, pool: '', readOnly: false, keep: false }],
  assigned: { attachments: [attachment], volumes: [{ name: 'data', volumeId: volume }], ports: [] },
};
const larger = { cpuMillicores: 0, memoryMib: 32, diskMib: 0, pids: 64 };

const isConnected = ({ networks, attachedPids }: AgentWorld, id: InstanceId, pid: number): boolean =>
  networks.host.guests.get(id)?.made === true && [pid, undefined].includes(attachedPids.at(-1));

class Killed extends Error {}

/** One order after the other, as a control plane gives them: each again until it is done. */
async function live(world: AgentWorld, instances: Instances, id: InstanceId): Promise<void> {
  const alive = (): Promise<unknown> =>
    until(() => ['running', 'paused', 'exited'].includes(phaseOf(instances, id) ?? ''), { what: 'alive' });
  await instances.ensure(world.order(id, 1), world.spec(forever, whole));
  await alive();
  await instances.ensure(world.order(id, 2), world.spec(forever, { ...whole, resources: larger }));
  await until(async () => (await instances.inspect(id)).state.limits?.memoryMib === 32, { what: 'limits' });
  await instances.pause(world.order(id, 0), signal);
  await instances.resume(world.order(id, 0), signal);
  const env = { A: '1' };
  await instances.ensure(world.order(id, 3), world.spec(forever, { ...whole, resources: larger, env }));
  await until(() => world.host.guests.get(id)?.guest.spec.env['A'] === '1', { what: 'a new guest' });
  await reach(instances, id, 'running');
  await instances.remove(world.order(id, 3), 20, signal);
}

async function momentsOf(options: AgentWorldOptions): Promise<string[]> {
  await using world = await createAgentWorld(options);
  const moments: string[] = [];
  const instances = await world.open(
    (moment) => void moments.push(moment),
    async () => {},
  );
  await live(world, instances, world.newId());
  return moments;
}

/** Killed at one moment; then the next life finishes what the orders said, and removes it. */
async function killAt(options: AgentWorldOptions, index: number, moment: string) {
  await using world = await createAgentWorld(options);
  const id = world.newId();
  const death = Promise.withResolvers<void>();
  let passed = 0;
  let killed = false;
  const hook: FaultHook = () => {
    killed ||= passed === index;
    passed += 1;
    if (!killed) return;
    death.resolve();
    throw new Killed(moment);
  };
  const instances = await world.open(hook, async () => {});
  await Promise.race([live(world, instances, id).catch(() => undefined), death.promise]);
  await instances.close();
  const next = await world.open(undefined, async () => {});
  const known = next.list()[0];
  if (known !== undefined && !['stopping', 'stopped'].includes(known.state.phase)) {
    await until(() => ['running', 'paused', 'exited', 'stopped'].includes(phaseOf(next, id) ?? ''), {
      what: `${moment}, now ${phaseOf(next, id)}`,
    });
    const record = (await next.inspect(id)).spec;
    const wanted = record?.resources.memoryMib ?? 0;
    await until(
      async () => {
        const { state } = await next.inspect(id);
        return state.phase === 'exited' || state.limits?.memoryMib === wanted;
      },
      { what: `limits after ${moment}` },
    );
    const { state } = await next.inspect(id);
    const connected = state.phase === 'exited' || isConnected(world, id, state.pid);
    expect({ moment, connected }).toEqual({ moment, connected: true });
  }
  await next.remove(world.order(id, 3), 20, signal);
  const data = (await world.volumes.list(signal)).filter((one) => one.kind === 'data');
  return {
    moment,
    killed,
    guests: world.host.guests.size,
    networks: world.networks.host.guests.size,
    roots: (await world.volumes.list(signal)).length - data.length,
    mounted: world.volumes.isMounted(volume),
    instances: next.list().length,
  };
}

const nothing = { killed: true, guests: 0, networks: 0, roots: 0, mounted: false, instances: 0 };

describe('killed at every step of a life with a network and a data volume', () => {
  it.each<[string, AgentWorldOptions]>([
    ['that the agent connects', { driver: { network: 'namespace' } }],
    ['that connects itself', { driver: { network: 'native' } }],
  ])('a guest %s lives whole, or leaves only its data', { timeout: 120_000 }, async (_name, options) => {
    const moments = await momentsOf(options);
    expect(moments.length).toBeGreaterThan(60);
    for (const [index, moment] of moments.entries()) {
      expect(await killAt(options, index, moment)).toEqual({ moment, ...nothing });
    }
  });
});
