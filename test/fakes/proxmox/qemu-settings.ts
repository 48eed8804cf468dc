/** PUT and POST config of virtual machines: at once, pending, or unplugged where the system plays along. */
import { parameterFailure, refusal } from './failure.ts';
import type { ConfigChange } from './guest-life.ts';
import {
  checkDigest,
  checkUnlocked,
  configAnswer,
  guestOf,
  lockFileOf,
  newMac,
  parseChange,
  pendingAnswer,
  refuseSkipLock,
  underLock,
} from './guest-life.ts';
import { parseParts } from './guest-property.ts';
import { requireForMachine } from './machine-rights.ts';
import { cloudInitText } from './qemu-cloudinit.ts';
import { cloudInitRows, makeDriveAnew, noteForDrive } from './qemu-cloudinit-drive.ts';
import { isDevice, howChanged, isDrive, normaliseQemuValue, waitsForStart } from './qemu-config.ts';
import { keepsCase, refuseArgs } from './qemu-create.ts';
import { checkDrive, detach, makeDrive } from './qemu-disks.ts';
import type { Call, Routes } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest } from './world.ts';

/** Every name that the API knows passed the schema; this is for those in `delete`. */
const knows = (key: string): boolean => /^[a-z][a-z0-9_-]*$/.test(key) && key !== 'nope';

function prepare(call: Call): { readonly guest: Guest; readonly change: ConfigChange } {
  const { world, parameters } = call;
  refuseSkipLock(call);
  refuseArgs(call);
  requireForMachine(call, false);
  const { sshkeys } = parameters;
  if (sshkeys !== undefined) checkKeys(decodeURIComponent(sshkeys));
  const change = parseChange(call, knows, '');
  for (const [key, value] of change.set) if (isDrive(key)) checkDrive(world, key, value);
  const guest = guestOf(call, 'qemu');
  checkDigest(guest, parameters['digest']);
  checkUnlocked(guest);
  return { guest, change };
}

function checkKeys(text: string): void {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const isKey = (line: string): boolean => /^(ssh-|ecdsa-|sk-)\S+ \S{16}/.test(line.trim());
  if (!lines.every(isKey)) throw refusal('SSH public key validation error');
}

async function changeNow(call: Call): Promise<null> {
  const { guest, change } = prepare(call);
  const { world } = call;
  await underLock(world, guest, () => {
    checkDigest(guest, call.parameters['digest']);
    world.writeConfig(guest, world.nodes.get(call.node)?.lastPid ?? 1);
    return apply(call, guest, change);
  });
  return null;
}

function changeInTask(call: Call): string {
  const { guest, change } = prepare(call);
  const words = Object.entries(call.parameters).filter(
    ([key]) => !/^(node|vmid|digest|background_delay)$/.test(key),
  );
  return call.fork('qmconfig', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      control.log(`update VM ${guest.vmid}:${words.map(([key, value]) => ` -${key} ${value}`).join('')}`);
      await control.passes(100);
      call.world.writeConfig(guest, control.pid);
      await apply(call, guest, change, control);
    }),
  );
}

async function apply(call: Call, guest: Guest, change: ConfigChange, control?: TaskControl): Promise<void> {
  for (const key of change.revert) guest.pending.delete(key);
  const problems: Record<string, string> = {};
  if (guest.config.protection === '1') refuseProtected(change.remove);
  for (const key of change.remove) await removeOption(call, guest, key, problems);
  for (const [key, value] of change.set) await setOption({ call, guest, control, problems }, key, value);
  if (Object.keys(problems).length > 0) throw parameterFailure(problems);
}

/** Also where the protection is to go with it. */
function refuseProtected(keys: readonly string[]): void {
  const drive = keys.find((key) => isDrive(key) || key.startsWith('unused'));
  if (drive !== undefined) throw refusal(`can't remove drive '${drive}' - protection mode enabled`);
}

/** A system that is not there does not let go of a device: six virtual seconds, then it is told. */
async function unplugged(call: Call, guest: Guest, key: string, problems: Record<string, string>) {
  if (guest.inside.shutdownMs !== Number.POSITIVE_INFINITY) return true;
  const { clock, pace, major } = call.world;
  const device =
    /^scsi\d+$/.test(key) && guest.config['scsihw'] === 'virtio-scsi-single' ? `virtio${key}` : key;
  await clock.sleep(6000 * pace);
  const busy = major === 8 ? '' : ' - still busy in guest?';
  problems[key] = `hotplug problem - error on hot-unplugging device '${device}'${busy}\n`;
  return false;
}

async function removeOption(
  call: Call,
  guest: Guest,
  key: string,
  problems: Record<string, string>,
): Promise<void> {
  guest.pending.delete(key);
  if (guest.config[key] === undefined) return;
  const live = guest.status === 'running';
  const waits = waitsForStart(key) && !(key === 'balloon' && guest.config[key] !== '0');
  if (live && (waits || (isDevice(key) && !(await unplugged(call, guest, key, problems))))) {
    guest.pending.set(key, undefined);
  } else if (isDrive(key) || key.startsWith('unused')) detach(call.world, guest, key);
  else {
    noteForDrive(guest, key);
    delete guest.config[key];
  }
}

interface Setting {
  readonly call: Call;
  readonly guest: Guest;
  readonly control: TaskControl | undefined;
  readonly problems: Record<string, string>;
}

async function setOption(
  { call, guest, control, problems }: Setting,
  key: string,
  value: string,
): Promise<void> {
  const { world } = call;
  const stored = isDrive(key)
    ? await makeDrive({ world, guest, made: [], ...(control === undefined ? {} : { control }) }, key, value)
    : normaliseQemuValue(key, value, keepsCase(world), () => newMac(world));
  const before = guest.config[key];
  guest.pending.delete(key);
  if (guest.status === 'running') {
    if (before === stored) return;
    const how = before === undefined || !isDevice(key) ? 'at-once' : howChanged(key, before, stored);
    const waits = how === 'waits' || (waitsForStart(key) && !isBalloonOnly(guest, key, stored));
    if (waits || (how === 'replaced' && !(await unplugged(call, guest, key, problems)))) {
      guest.pending.set(key, stored);
      return;
    }
  }
  if (isDrive(key) && guest.config[key] !== undefined && fileOf(guest.config[key]) !== fileOf(stored)) {
    detach(world, guest, key);
  }
  noteForDrive(guest, key);
  guest.config[key] = stored;
  if (key === 'name') guest.inside.hostname = stored;
}

const fileOf = (text: string): string => parseParts(text, 'file').get('file') ?? '';
/** Another size of what it gives back; there has to be one of the two before and after. */
const isBalloonOnly = (guest: Guest, key: string, next: string): boolean =>
  key === 'balloon' && (guest.config['balloon'] !== '0') === (next !== '0');

const cloudInit = (call: Call): unknown => cloudInitRows(guestOf(call, 'qemu'));

function regenerate(call: Call): null {
  const guest = guestOf(call, 'qemu');
  checkUnlocked(guest);
  makeDriveAnew(guest);
  return null;
}

function dump(call: Call): string {
  const guest = guestOf(call, 'qemu');
  const type = call.parameters['type'];
  return cloudInitText(guest.config, type === 'network' || type === 'meta' ? type : 'user');
}

const path = '/nodes/{node}/qemu/{vmid}';
export const qemuSettingsRoutes: Routes = {
  [`GET ${path}/config`]: (call) => configAnswer(call, 'qemu'),
  [`GET ${path}/pending`]: (call) => pendingAnswer(call, 'qemu'),
  [`PUT ${path}/config`]: changeNow,
  [`POST ${path}/config`]: changeInTask,
  [`GET ${path}/cloudinit`]: cloudInit,
  [`PUT ${path}/cloudinit`]: regenerate,
  [`GET ${path}/cloudinit/dump`]: dump,
};
