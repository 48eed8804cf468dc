/** vzdump: backups of guests onto a storage, and the configuration in one. */
import { disksOf } from './guest-disks.ts';
import { begin, checkUnlocked, halt, lockFileOf } from './guest-life.ts';
import { parseList } from './guest-property.ts';
import { storageOf } from './guest-volumes.ts';
import { logTime } from './migrate-move.ts';
import { refusal } from './failure.ts';
import type { Call, Routes } from './route.ts';
import { canSnapshot } from './snapshots.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, GuestConfig } from './world.ts';

const endings: Readonly<Record<string, string>> = { zstd: '.zst', gzip: '.gz', lzo: '.lzo', '1': '.lzo' };
const notOptions = new Set(['node', 'vmid', 'all']);

function backUp(call: Call): string {
  const { parameters, world, node } = call;
  const wanted = parseList(parameters['vmid'] ?? '');
  const all = [...world.guests.values()]
    .filter((guest) => guest.node === node)
    .map(({ vmid }) => String(vmid));
  const vmids = parameters['all'] === '1' ? all : wanted;
  for (const vmid of vmids) call.require(`/vms/${vmid}`, 'VM.Backup');
  return call.fork('vzdump', vmids.length === 1 ? (vmids[0] ?? '') : '', (control) =>
    dumpAll(call, vmids, control),
  );
}

async function dumpAll(call: Call, vmids: readonly string[], control: TaskControl): Promise<void> {
  const { parameters, node } = call;
  checkStorage(call);
  const options = Object.entries(parameters)
    .filter(([key]) => !notOptions.has(key))
    .map(([key, value]) => ` --${key} ${/[^\w.:-]/.test(value) ? `'${value}'` : value}`);
  control.log(`INFO: starting new backup job: vzdump ${vmids.join(' ')}${options.join('')} --node ${node}`);
  let failed = false;
  for (const vmid of vmids) failed = !(await dumpOne(call, vmid, control)) || failed;
  control.log(`INFO: Backup job finished ${failed ? 'with errors' : 'successfully'}`);
  if (failed) throw new Error('job errors');
}

function checkStorage({ parameters, world }: Call): void {
  const id = parameters['storage'] ?? 'local';
  const storage = world.storages.definitions.get(id);
  if (storage === undefined) {
    const words = `storage '${id}' does not exist`;
    throw new Error(
      `could not activate storage '${id}': ${words} could not get storage information for '${id}': ${words}`,
    );
  }
  if (storage.content.includes('backup')) return;
  throw new Error(
    `could not get storage information for '${id}': can't use storage '${id}' for backups - wrong content type`,
  );
}

async function dumpOne(call: Call, vmid: string, control: TaskControl): Promise<boolean> {
  const { world, node } = call;
  const guest = world.guestOn(node, 'lxc', vmid) ?? world.guestOn(node, 'qemu', vmid);
  try {
    if (guest === undefined) throw new Error(`unable to find VM '${vmid}'`);
    const startedMs = world.clock.nowMs();
    control.log(
      `INFO: Starting Backup of VM ${vmid} (${guest.kind})`,
      `INFO: Backup started at ${logTime(world)}`,
    );
    control.log(`INFO: status = ${guest.status}`);
    await control.locked(lockFileOf(guest), () => {
      checkUnlocked(guest);
      world.writeConfig(guest, control.pid);
      guest.config.lock = 'backup';
    });
    try {
      await dump(call, guest, control);
    } finally {
      delete guest.config.lock;
    }
    const seconds = Math.round((world.clock.nowMs() - startedMs) / 1000);
    const took = new Date(seconds * 1000).toISOString().slice(11, 19);
    control.log(
      `INFO: Finished Backup of VM ${vmid} (${took})`,
      `INFO: Backup finished at ${logTime(world)}`,
    );
    return true;
  } catch (error) {
    if (control.signal.aborted) throw error;
    const why = error instanceof Error ? error.message : '';
    control.log(`ERROR: Backup of VM ${vmid} failed - ${why}`, `INFO: Failed at ${logTime(world)}`);
    return false;
  }
}

async function dump(call: Call, guest: Guest, control: TaskControl): Promise<void> {
  const { world, parameters, node } = call;
  const running = guest.status === 'running';
  const mode = running ? (parameters['mode'] ?? 'snapshot') : 'stop';
  const name = guest.kind === 'lxc' ? 'CT' : 'VM';
  control.log(
    `INFO: ${running && guest.kind === 'lxc' ? `CT Name: ${guest.config.hostname ?? ''}` : `backup mode: ${mode}`}`,
  );
  if (running && guest.kind === 'lxc')
    control.log("INFO: including mount point rootfs ('/') in backup", `INFO: backup mode: ${mode}`);
  if (parameters['bwlimit'] !== undefined)
    control.log(`INFO: bandwidth limit: ${parameters['bwlimit']} KiB/s`);
  control.log('INFO: ionice priority: 7');
  if (!running || guest.kind === 'qemu') {
    control.log(`INFO: ${name} Name: ${guest.config.hostname ?? guest.config.name ?? ''}`);
    if (guest.kind === 'lxc') control.log("INFO: including mount point rootfs ('/') in backup");
  }
  const id = parameters['storage'] ?? 'local';
  const path = world.storages.definitions.get(id)?.path ?? '/var/lib/vz';
  if (running && mode === 'snapshot' && guest.kind === 'lxc') await snapshotFirst(call, guest, control);
  const file = archiveName(call, guest);
  control.log(`INFO: creating vzdump archive '${path}/dump/${file}'`);
  const seconds = parameters['bwlimit'] === undefined ? 0.2 : 2410 / Number(parameters['bwlimit']);
  if (running && mode === 'stop') {
    await control.passes(3000);
    halt(guest);
  }
  // A machine is backed up through its QEMU, which is started for that, and does not run.
  const isOff = guest.kind === 'qemu' && guest.status === 'stopped';
  if (isOff) {
    begin(world, guest);
    guest.qmpStatus = 'prelaunch';
  }
  try {
    await control.passes(Math.round(seconds * 1000) + 100);
  } finally {
    if (isOff) halt(guest);
  }
  const volid = `${id}:backup/${file}`;
  const text = parameters['notes-template'];
  const guestName = guest.config.hostname ?? guest.config.name ?? '';
  const notes = text?.replaceAll('{{guestname}}', guestName).replaceAll('{{vmid}}', String(guest.vmid));
  const packed = /\.(zst|gz|lzo)$/.test(file);
  const { lock: _, parent: __, ...config } = guest.config;
  world.storages.volumes(id, node).set(volid, {
    volid,
    content: 'backup',
    format: file.slice(file.indexOf('.') + 1),
    sizeBytes: packed ? 1_085_879 : 2_467_840,
    vmid: guest.vmid,
    createdAt: world.now(),
    ...(notes === undefined ? {} : { notes }),
    backupOf: { kind: guest.kind, config },
  });
  control.log(
    'INFO: Total bytes written: 2467840 (2.4MiB, 143MiB/s)',
    `INFO: archive file size: ${packed ? 1 : 2}MB`,
  );
  if (notes !== undefined) control.log('INFO: adding notes to backup');
  if (running && mode === 'stop') {
    await control.passes(1200);
    begin(world, guest);
  }
}

async function snapshotFirst(call: Call, guest: Guest, control: TaskControl): Promise<void> {
  const { world } = call;
  if (!canSnapshot(world, guest)) {
    control.log(
      'INFO: mode failure - some volumes do not support snapshots',
      "INFO: trying 'suspend' mode instead",
    );
    return;
  }
  control.log("INFO: create storage snapshot 'vzdump'");
  await control.passes(300);
  const type = world.storages.definitions.get(storageOf(disksOf(world, guest)[0]?.volid ?? ''))?.type;
  if (type !== 'btrfs') return;
  control.log(
    'umount: /mnt/vzsnap0/: not mounted.',
    "command 'umount -l -d /mnt/vzsnap0/' failed: exit code 32",
  );
  throw new Error("cannot mount subvol snapshots for storage type 'btrfs'");
}

function archiveName({ parameters, world }: Call, guest: Guest): string {
  const time = new Date(world.clock.nowMs()).toISOString().slice(0, 19);
  const stamp = time.replaceAll('-', '_').replace('T', '-').replaceAll(':', '_');
  const ending = endings[parameters['compress'] ?? ''] ?? '';
  const body = guest.kind === 'lxc' ? 'tar' : 'vma';
  return `vzdump-${guest.kind}-${guest.vmid}-${stamp}.${body}${ending}`;
}

/** The configuration file of the guest, as text: its description as comments, its keys by name. */
function extractConfig({ world, node, parameters }: Call): string {
  const { volume = '' } = parameters;
  const kept = world.storages.find(volume, node)?.backupOf;
  if (kept === undefined) throw refusal(`volume '${volume}' does not exist`);
  return configText(kept.config);
}

function configText(config: Readonly<GuestConfig>): string {
  const { description, ...rest } = config;
  const comments =
    description === undefined ? [] : description.split('\n').map((line) => `#${encodeURI(line)}`);
  const keys = Object.keys(rest).sort();
  return [...comments, ...keys.map((key) => `${key}: ${rest[key]}`), ''].join('\n');
}

export const backupRoutes: Routes = {
  'POST /nodes/{node}/vzdump': backUp,
  'GET /nodes/{node}/vzdump/extractconfig': extractConfig,
  'GET /nodes/{node}/vzdump/defaults': () => ({
    mode: 'snapshot',
    compress: '0',
    'prune-backups': 'keep-all=1',
  }),
};
