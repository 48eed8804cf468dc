/** POST /nodes/{node}/lxc: a container from a template, or from a backup. */
import { permissionFailure } from './permission.ts';
import { refusal, ApiFailure } from './failure.ts';
import { restoreContainer } from './backup-restore.ts';
import { underLock, newMac } from './guest-life.ts';
import { formatParts, parseParts, type Parts } from './guest-property.ts';
import { allocate, checkSize, free, lxcFormat, needStorage, parseVolume, sizePart } from './guest-volumes.ts';
import { addHaResource } from './ha-resources.ts';
import { requireForContainer } from './guest-rights.ts';
import { formatMountPoint, isLxcVolume, normaliseLxcValue } from './lxc-config.ts';
import { checkPrivileges, isUnprivileged } from './lxc-privileges.ts';
import { startTask, warnOfSystemd } from './lxc-power.ts';
import type { RegistryImage } from './internet.ts';
import type { Call } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, World } from './world.ts';

const gibibyte = 1024 ** 3;

/** Ways to make a container, no part of it. */
const notConfig = new Set([
  'node',
  'vmid',
  'ostemplate',
  'storage',
  'pool',
  'start',
  'force',
  'restore',
  'unique',
]);
for (const key of ['password', 'ssh-public-keys', 'bwlimit', 'ignore-unpack-errors', 'ha-managed'])
  notConfig.add(key);

export async function createContainer(call: Call): Promise<string> {
  const { world, parameters } = call;
  world.needQuorum();
  const vmid = Number(parameters['vmid']);
  if (parameters['restore'] !== '1' && world.major >= 9 && !isUnprivileged(call))
    call.require('/', 'Sys.Modify');
  if (parameters['ha-managed'] === '1') call.require('/', 'Sys.Console');
  checkMayCreate(call, vmid);
  checkPool(call);
  checkPrivileges(call);
  requireForContainer(call);
  for (const key of Object.keys(parameters).filter(isLxcVolume)) checkVolume(call, key);
  if (parameters['storage'] !== undefined) needStorage(world, parameters['storage']);
  parseVolume(world, parameters['ostemplate'] ?? '');
  const over = parameters['restore'] === '1' && parameters['force'] === '1';
  refuseTaken(world, vmid, over);
  const guest = await reserve(call, vmid, over);
  if (parameters['restore'] === '1') return restoreContainer(call, guest);
  return call.fork('vzcreate', vmid, (control) => makeOrForget(call, guest, control));
}

/** On the guest to be, or on the pool that it is to be in. */
export function checkMayCreate({ may, parameters }: Call, vmid: number): void {
  const { pool } = parameters;
  if (may(`/vms/${vmid}`, 'VM.Allocate')) return;
  if (pool === undefined || !may(`/pool/${pool}`, 'VM.Allocate')) throw permissionFailure();
}

/** Somebody may have been quicker: the second look, under the lock, says it in other words. */
async function reserve(call: Call, vmid: number, over: boolean): Promise<Guest> {
  const { world, node } = call;
  const about = { kind: 'lxc', vmid, node } as const;
  await world.clock.turn();
  return underLock(world, about, () => {
    const there = world.guests.get(vmid);
    if (there !== undefined && !over) throw refusal(`unable to create CT ${vmid} - ${takenText(there)}`);
    if (there !== undefined) return there;
    const guest = world.newGuest({ ...about, config: { lock: 'create' } });
    world.guests.set(vmid, guest);
    return guest;
  });
}

export const takenText = ({ kind, vmid, node }: Guest): string =>
  `${kind === 'lxc' ? 'CT' : 'VM'} ${vmid} already exists on node '${node}'`;

export function refuseTaken(world: World, vmid: number, over = false): void {
  const there = world.guests.get(vmid);
  if (there !== undefined && !over) throw refusal(takenText(there));
}

export function checkPool({ parameters: { pool }, world }: Call): void {
  if (pool === undefined || world.pools.has(pool)) return;
  throw new ApiFailure(403, `Permission check failed (pool '${pool}' does not exist)`);
}

function checkVolume(call: Call, key: string): void {
  const text = parseParts(call.parameters[key] ?? '', 'volume').get('volume') ?? '';
  if (text.startsWith('/')) return;
  parseVolume(call.world, text);
}

async function makeOrForget(call: Call, guest: Guest, control: TaskControl): Promise<void> {
  const { world } = call;
  const made: string[] = [];
  try {
    await control.locked(`/run/lock/lxc/pve-create-${guest.vmid}.lock`, () =>
      make(call, guest, control, made),
    );
  } catch (error) {
    for (const volid of made) free(world, guest.node, volid);
    world.guests.delete(guest.vmid);
    throw new Error(`unable to create CT ${guest.vmid} - ${error instanceof Error ? error.message : ''}`);
  }
  if (call.parameters['ha-managed'] === '1') addHaResource(world, guest, call.parameters['start'] === '1');
  if (call.parameters['start'] !== '1') return;
  startTask(call, guest);
  await control.passes(100);
}

async function make(call: Call, guest: Guest, control: TaskControl, made: string[]): Promise<void> {
  const { world, parameters, node } = call;
  const template = parameters['ostemplate'] ?? '';
  if (world.storages.find(template, node) === undefined) {
    const words = `volume '${template}' does not exist`;
    if (world.major > 8) control.log(words);
    throw new Error(words);
  }
  await control.passes(150);
  const config = configFrom(call, template);
  const disks = Object.entries(config).filter(([key]) => isLxcVolume(key));
  for (const [key, value] of disks) config[key] = await makeVolume(call, guest, control, { value, made });
  control.log(
    `extracting archive '${templatePath(world, template)}'`,
    'Total bytes read: 2150400 (2.1MiB, 76MiB/s)',
  );
  await control.passes(200);
  const { image } = world.storages.find(template, node) ?? {};
  if (image === undefined) control.log('Detected container architecture: amd64');
  else takeFromImage(config, image, control);
  warnOfSystemd(config, control);
  world.writeConfig(guest, control.pid);
  guest.config = config;
  guest.inside.hostname = config['hostname'] ?? '';
  if (parameters['pool'] !== undefined) world.pools.get(parameters['pool'])?.guests.add(guest.vmid);
}

/** Its program and environment override what the call said. */
function takeFromImage(
  config: Record<string, string>,
  { command, env }: RegistryImage,
  control: Pick<TaskControl, 'log'>,
): void {
  control.log('Detected OCI archive');
  if (command.length > 0 && command[0] !== '/sbin/init') {
    config['entrypoint'] = command.map(quoted).join(' ');
    config['cmode'] = 'console';
    for (const key of Object.keys(config).filter((each) => /^net\d+$/.test(each))) {
      const parts = parseParts(config[key] ?? '', 'name');
      if (parts.has('host-managed')) continue;
      control.log(`Auto-Enabling host-managed network for network device ${key}.`);
      parts.set('host-managed', '1');
      config[key] = formatParts(parts, '', ['name']);
    }
  }
  if (env.length > 0) config['env'] = env.join('\0');
}

const quoted = (word: string): string =>
  /^[\w!%+,./:@^-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

function templatePath(world: World, template: string): string {
  const [storage = '', name = ''] = template.split(':');
  const path = world.storages.definitions.get(storage)?.path ?? '/var/lib/vz';
  return `${path}/template/cache/${name.replace('vztmpl/', '')}`;
}

function configFrom(call: Call, template: string): Record<string, string> {
  const { parameters, world } = call;
  const given = Object.entries(parameters).filter(([key]) => !notConfig.has(key));
  const config: Record<string, string> = {
    arch: 'amd64',
    memory: '512',
    swap: '512',
    ostype: osType(template),
  };
  for (const [key, value] of given) config[key] = normaliseLxcValue(key, value, () => newMac(world));
  delete config['unprivileged'];
  if (isUnprivileged(call)) config['unprivileged'] = '1';
  config['rootfs'] ??= `${parameters['storage'] ?? 'local'}:4`;
  return config;
}

function osType(template: string): string {
  const name = /vztmpl\/([a-z]+)/.exec(template)?.[1] ?? '';
  return ['alpine', 'debian', 'ubuntu', 'fedora', 'centos', 'archlinux', 'gentoo'].includes(name)
    ? name
    : 'unmanaged';
}

interface DiskPlan {
  readonly value: string;
  readonly made: string[];
}

async function makeVolume(call: Call, guest: Guest, control: TaskControl, plan: DiskPlan): Promise<string> {
  const parts = parseParts(plan.value, 'volume');
  const text = parts.get('volume') ?? '';
  if (text.startsWith('/')) return plan.value;
  const wish = parseVolume(call.world, text);
  if (wish.kind !== 'new') return plan.value;
  return makeDisk(call.world, guest, parts, wish, control, plan.made);
}

/** Allocates what `storage:GiB` asks for, and gives the text that stands in the configuration then. */
export async function makeDisk(
  world: World,
  guest: Guest,
  parts: Parts,
  wish: { readonly storage: string; readonly gibibytes: number },
  control?: Pick<TaskControl, 'log' | 'passes'>,
  made: string[] = [],
): Promise<string> {
  const { storage, gibibytes } = wish;
  const { node, vmid } = guest;
  const format = lxcFormat(world, storage, gibibytes);
  const bytes = Math.round(gibibytes * gibibyte);
  const definition = world.storages.definitions.get(storage);
  if (format === 'raw') {
    const file = `${definition?.path ?? '/var/lib/vz'}/images/${vmid}/vm-${vmid}-disk-0.raw`;
    control?.log(`Formatting '${file}', fmt=raw size=${bytes} preallocation=off`);
    checkSize(world, storage, vmid, gibibytes);
  }
  const volume = allocate(world, { node, storage, vmid, bytes, format, content: 'rootdir' });
  made.push(volume.volid);
  if (format === 'raw' && control !== undefined) {
    control.log(...fileSystemLines(bytes));
    await control.passes(500);
  }
  parts.set('volume', volume.volid);
  parts.set('size', sizePart(volume));
  return formatMountPoint(parts);
}

export function fileSystemLines(bytes: number): string[] {
  const blocks = Math.round(bytes / 4096);
  return [
    `Creating filesystem with ${blocks} 4k blocks and ${blocks / 4} inodes`,
    'Filesystem UUID: 220c7cc0-8217-483f-b3f8-7e270ce22f6b',
    'Superblock backups stored on blocks: ',
    '\t32768, 98304, 163840, 229376',
    '',
  ];
}
