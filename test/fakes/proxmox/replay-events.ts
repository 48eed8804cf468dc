/** What happened outside the API in a recorded flow. */
import type { ProxmoxServer } from '../proxmox-server.ts';
import { rejoinMs } from './node-model.ts';
import type { Exchange, Recording } from './recording.ts';
import type { Volume } from './storage-model.ts';
import type { World } from './world.ts';

const namesIn = (text: string): string[] => text.match(/\bpv[en]\d\b/g) ?? [];

function setRunning(world: World, vmid: number, running: boolean): void {
  const guest = world.guests.get(vmid);
  if (guest === undefined || (guest.status === 'running') === running) return;
  guest.status = running ? 'running' : 'stopped';
  guest.qmpStatus = guest.status;
  guest.pid = running ? 7000 : undefined;
  guest.startedAtMs = running ? world.clock.nowMs() : undefined;
  for (const [key, value] of guest.pending) if (value !== undefined) guest.config[key] = value;
  guest.pending.clear();
}

function removeClones(volumes: Map<string, Volume>): void {
  for (const { volid, vmid } of volumes.values())
    if ([7231, 7232, 7233].includes(vmid ?? 0)) volumes.delete(volid);
}

/** What was done to the cluster without a note, by the step that shows it first. */
const unnoted: readonly (readonly [RegExp, (server: ProxmoxServer) => void])[] = [
  [
    /^token carol with PVEVMUser on \/vms\/7001: resources$/,
    ({ world }) => {
      world.access.grant('carol@pve', '/vms/7001', 'PVEVMUser');
      world.access.grant('carol@pve!t1', '/vms/7001', 'PVEVMUser');
    },
  ],
  [
    /^resources$/,
    ({ world }) => {
      // It was seen half made before.
      const half = world.guests.get(7014);
      if (half?.config.hostname === 'CT7014')
        Object.assign(half.config, { hostname: 'ct7014', memory: '64' });
      // A guest of HA that had nothing to do with the flow came to rest meanwhile.
      const resource = world.ha.resources.get('ct:7340');
      const guest = world.guests.get(7340);
      if (resource?.current !== 'migrate' || guest === undefined) return;
      resource.current = 'started';
      guest.status = 'running';
      guest.pid = 1860;
      guest.startedAtMs = world.clock.nowMs();
    },
  ],
  [/^configure the agent$/, ({ world }) => setRunning(world, 7250, false)],
  [/\(running, (?:not )?configured|^status with agent$/, ({ world }) => setRunning(world, 7250, true)],
  [/^start with missing snippet$/, ({ world }) => setRunning(world, 7260, false)],
  [
    /^destroy the template$/,
    ({ world }) => {
      // Its clones were destroyed before.
      for (const vmid of [7231, 7232, 7233]) world.guests.delete(vmid);
      for (const { id } of world.storages.definitions.values()) {
        for (const node of world.nodes.keys()) removeClones(world.storages.volumes(id, node));
      }
    },
  ],
  [/^create with unknown parameter$/, ({ world }) => world.guests.delete(7031)],
  [/^delete the second$/, ({ world }) => world.guests.delete(7322)],
];

/** Does to the fake what was done to the cluster before this exchange; a mere note of time does nothing. */
/** How long nodes took to boot: until the recording first shows them. */
function bootMs({ exchanges }: Recording, { atMs }: Exchange, [node = '']: readonly string[]): number {
  const shown = exchanges.find((later) => {
    if (later.atMs < atMs || later.request.path !== '/cluster/status') return false;
    return isOnline(later, node);
  });
  return Math.max(0, (shown?.atMs ?? atMs) - atMs - rejoinMs - 1);
}

function isOnline({ response }: Exchange, node: string): boolean {
  const body = response?.body as { data: readonly { name: string; online?: number }[] } | undefined;
  return body?.data.some(({ name, online }) => name === node && online === 1) ?? false;
}

export async function replayEvent(
  server: ProxmoxServer,
  recording: Recording,
  exchange: Exchange,
): Promise<void> {
  for (const [step, happens] of unnoted) if (step.test(exchange.step)) happens(server);
  const { world, faults } = server;
  const { before = '', request } = exchange;
  const nodes = namesIn(before);
  const guest = world.guests.get(Number(/\/(?:lxc|qemu)\/(\d+)/.exec(request.path)?.[1]));
  const [, lock] = /lock (\w+) set/.exec(before) ?? [];
  if (lock !== undefined && guest !== undefined) guest.config.lock = lock;
  else if (before.includes('lock removed')) delete guest?.config.lock;
  else if (before.includes('died')) for (const name of nodes) await faults.killNode(name);
  else if (before.includes('started')) {
    const delayMs = bootMs(recording, exchange, nodes);
    world.clock.after(delayMs, () => void Promise.all(nodes.map(faults.reviveNode)));
  } else if (before.includes('was cut')) for (const name of nodes) faults.cutNode(name);
  else if (before.includes('connected again')) for (const name of nodes) faults.joinNode(name);
}
