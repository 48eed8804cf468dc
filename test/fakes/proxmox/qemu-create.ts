/** POST /nodes/{node}/qemu: an empty machine, one with imported disks, or one from a backup. */
import { restoreMachine } from './backup-restore.ts';
import { refusal } from './failure.ts';
import { isRoot, newMac, underLock } from './guest-life.ts';
import { free, needStorage } from './guest-volumes.ts';
import { addHaResource } from './ha-resources.ts';
import { requireForMachine } from './machine-rights.ts';
import { checkMayCreate, checkPool, takenText } from './lxc-create.ts';
import { defaultBoot, isDrive, normaliseQemuValue, pinnedMachine } from './qemu-config.ts';
import { checkDrive, makeDrive } from './qemu-disks.ts';
import { startMachineTask } from './qemu-power.ts';
import type { Call } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, GuestConfig, World } from './world.ts';

const notConfig = new Set([
  'node',
  'vmid',
  'pool',
  'start',
  'archive',
  'storage',
  'force',
  'unique',
  'bwlimit',
]);
for (const key of ['live-restore', 'import-working-storage', 'ha-managed']) notConfig.add(key);

export const qemuVersion = (world: World): string => (world.major === 8 ? '7.2.22' : '10.0.13');
export const keepsCase = (world: World): boolean => world.major === 8;

/** No token may, not even one of root@pam. */
export function refuseArgs(call: Call): void {
  if (call.parameters['args'] !== undefined && !isRoot(call))
    throw refusal("only root can set 'args' config");
}

/** A machine that is started with nothing on its disk never answers a request to shut down. */
const deaf = Number.POSITIVE_INFINITY;

export async function createMachine(call: Call): Promise<string> {
  const { world, parameters, node } = call;
  world.needQuorum();
  checkMayCreate(call, Number(parameters['vmid']));
  checkPool(call);
  refuseArgs(call);
  requireForMachine(call, true);
  if (parameters['storage'] !== undefined) needStorage(world, parameters['storage']);
  for (const key of Object.keys(parameters).filter(isDrive)) checkDrive(world, key, parameters[key] ?? '');
  const vmid = Number(parameters['vmid']);
  await world.clock.turn();
  const guest = await underLock(world, { kind: 'qemu', vmid, node }, () => {
    const there = world.guests.get(vmid);
    if (there !== undefined) throw refusal(`unable to create VM ${vmid} - ${takenText(there)}`);
    const fresh = world.newGuest({ kind: 'qemu', vmid, node, config: { lock: 'create' } });
    fresh.inside.shutdownMs = deaf;
    world.guests.set(vmid, fresh);
    return fresh;
  });
  if (parameters['archive'] !== undefined) return restoreMachine(call, guest);
  return call.fork('qmcreate', vmid, (control) => makeOrForget(call, guest, control));
}

async function makeOrForget(call: Call, guest: Guest, control: TaskControl): Promise<void> {
  const { world, parameters } = call;
  const made: string[] = [];
  try {
    const config = await make(call, guest, control, made);
    world.writeConfig(guest, control.pid);
    guest.config = config;
  } catch (error) {
    for (const volid of made) free(world, guest.node, volid);
    world.guests.delete(guest.vmid);
    throw new Error(`unable to create VM ${guest.vmid} - ${error instanceof Error ? error.message : ''}`);
  }
  guest.inside.hostname = guest.config.name ?? '';
  if (parameters['pool'] !== undefined) world.pools.get(parameters['pool'])?.guests.add(guest.vmid);
  if (parameters['ha-managed'] === '1') addHaResource(world, guest, parameters['start'] === '1');
  if (parameters['start'] === '1') startMachineTask(call, guest);
}

async function make(call: Call, guest: Guest, control: TaskControl, made: string[]): Promise<GuestConfig> {
  const { world, parameters } = call;
  const config: GuestConfig = {};
  for (const [key, value] of Object.entries(parameters)) {
    if (notConfig.has(key)) continue;
    config[key] = normaliseQemuValue(key, value, keepsCase(world), () => newMac(world));
  }
  await control.passes(250);
  // Discs first: where one is missing nothing was made yet, and nothing was said.
  const keys = Object.keys(config).filter(isDrive);
  const isDisc = (key: string): boolean => config[key]?.includes('media=cdrom') === true;
  for (const key of keys.toSorted((one, other) => Number(isDisc(other)) - Number(isDisc(one)))) {
    config[key] = await makeDrive({ world, guest, control, made }, key, config[key] ?? '');
  }
  const machine = pinnedMachine(world.major, config);
  if (machine !== undefined) {
    config['machine'] = machine;
    control.log(`pinning machine type to '${machine}' for Windows guest OS`);
  }
  const boot = defaultBoot(config);
  if (config.boot === undefined && boot !== 'order=') config.boot = boot;
  config['meta'] = `creation-qemu=${qemuVersion(world)},ctime=${world.now()}`;
  config['smbios1'] ??= `uuid=${world.random.uuidV4()}`;
  config['vmgenid'] ??= world.random.uuidV4();
  return config;
}
