/** What the settings of a virtual machine ask of the caller's rights, and of the storages that they name. */
import { parameterFailure, refusal } from './failure.ts';
import { parseList, parseParts, type Parts } from './guest-property.ts';
import { requireBridge } from './guest-rights.ts';
import { storageOf } from './guest-volumes.ts';
import { isCloudInitKey, isDrive } from './qemu-config.ts';
import type { Call } from './route.ts';
import { requireForTags } from './tag-rights.ts';

const noOptions = new Set(
  (
    'node vmid digest delete revert skiplock force background_delay pool start storage archive unique ' +
    'bwlimit live-restore import-working-storage ha-managed'
  ).split(' '),
);

/** Asked for apart: it depends on their value. */
const byValue = /^(?:unused|serial|usb|hostpci|virtiofs)\d+$/;

const rules: readonly (readonly [options: RegExp, privilege: string])[] = [
  [/^(?:cores|cpu|cpulimit|cpuunits|numa\d*|smp|sockets|vcpus|affinity)$/, 'VM.Config.CPU'],
  [/^(?:memory|balloon|shares|allow-ksm)$/, 'VM.Config.Memory'],
  [/^(?:acpi|hotplug|kvm|machine|scsihw|smbios1|tablet|vga|watchdog|audio0|rng0)$/, 'VM.Config.HWType'],
  [/^freeze$/, 'VM.PowerMgmt'],
  [/^(?:boot|bootdisk|vmstatestorage)$/, 'VM.Config.Disk'],
  [/^net\d+$/, 'VM.Config.Network'],
];

/** The pool that a new guest is to be in is as good as the guest. */
function requireOn(call: Call, ...privileges: readonly string[]): void {
  const { pool, vmid = '' } = call.parameters;
  if (pool !== undefined && privileges.every((each) => call.may(`/pool/${pool}`, each))) return;
  for (const each of privileges) call.require(`/vms/${vmid}`, each);
}

function requireForOption(call: Call, option: string): void {
  if (isDrive(option) || byValue.test(option)) return;
  if (isCloudInitKey(option)) {
    const { pool, vmid = '' } = call.parameters;
    const either = ['VM.Config.Cloudinit', 'VM.Config.Network'];
    if (pool === undefined || !either.some((each) => call.may(`/pool/${pool}`, each)))
      call.requireAny(`/vms/${vmid}`, ...either);
    return;
  }
  requireOn(call, rules.find(([options]) => options.test(option))?.[1] ?? 'VM.Config.Options');
  // Which changes what its node does when it boots.
  if (option === 'startup') call.require('/', 'Sys.Modify');
}

/** For a drive of a machine that is there: what it was, and what it becomes. */
function requireForDrive(call: Call, value: string): void {
  const isDisc = /(?:^|,)media=cdrom(?:,|$)/.test(value);
  if (/[:-]cloudinit/.test(value.split(',')[0] ?? ''))
    requireOn(call, 'VM.Config.Cloudinit', 'VM.Config.CDROM');
  else requireOn(call, isDisc ? 'VM.Config.CDROM' : 'VM.Config.Disk');
}

const isNewDisk = /^(?:file=)?([A-Za-z][\w.-]*):\d+(?:\.\d+)?$/;

/** A volume that is there: images that anybody may have brought, or the guest's own. */
function requireVolume(call: Call, volid: string): void {
  const storage = storageOf(volid);
  if (call.may(`/storage/${storage}`, 'Datastore.Allocate')) return;
  const volume = call.world.storages.find(volid, call.node);
  if (/:(?:iso|vztmpl|import)\//.test(volid))
    call.requireAny(`/storage/${storage}`, 'Datastore.AllocateSpace', 'Datastore.Audit');
  else if (volume?.vmid !== undefined && String(volume.vmid) !== call.parameters['vmid']) {
    call.require(`/storage/${storage}`, 'Datastore.Audit');
    call.require(`/vms/${volume.vmid}`, 'VM.Config.Disk');
  }
}

/** Space where disks are made, on a storage that takes them; and a look at what is imported. */
function requireStorage(call: Call, key: string, parts: Parts): void {
  const { definitions } = call.world.storages;
  const file = parts.get('file') ?? '';
  const [, storage] = isNewDisk.exec(file) ?? [];
  const source = parts.get('import-from');
  if (file.endsWith(':cloudinit') || !file.includes(':')) return;
  if (storage !== undefined && definitions.has(storage)) {
    call.require(`/storage/${storage}`, 'Datastore.AllocateSpace');
    if (definitions.get(storage)?.content.includes('images') !== true)
      throw parameterFailure({ storage: `storage '${storage}' does not support vm images` });
  } else if (storage === undefined && definitions.has(storageOf(file))) requireVolume(call, file);
  if (source === undefined || !definitions.has(storageOf(source))) return;
  const type = /:(iso|vztmpl|backup|snippets)\//.exec(source)?.[1];
  if (type !== undefined)
    throw parameterFailure({
      [key]: `${source} has wrong type '${type}' - needs to be 'images' or 'import'`,
    });
  requireVolume(call, source);
}

/** What is said of a drive that cannot be, before any task. */
export function checkDriveText(key: string, parts: Parts): void {
  const file = parts.get('file') ?? '';
  if (parts.has('import-from') && !/^[A-Za-z][\w.-]*:0$/.test(file)) {
    const syntax = 'use <storage ID>:0,import-from=<source>';
    throw parameterFailure({ [key]: `'import-from' requires special syntax - ${syntax}` });
  }
  if (/:iso\//.test(file) && parts.get('media') !== 'cdrom')
    throw parameterFailure({ [key]: "explicit 'media=cdrom' is required for iso images" });
}

function requireForSerial(call: Call, option: string, value: string): void {
  if (value !== 'socket') throw refusal(`only root can set '${option}' config for real devices`);
  requireOn(call, 'VM.Config.HWType');
}

/** 403 for the first option that the caller may not set or delete; for storages and bridges it may not use. */
export function requireForMachine(call: Call, isNew: boolean): void {
  const { parameters, world } = call;
  const config = isNew ? {} : (world.guests.get(Number(parameters['vmid']))?.config ?? {});
  const removed = [...parseList(parameters['delete'] ?? ''), ...parseList(parameters['revert'] ?? '')];
  const given = Object.entries(parameters).filter(([name]) => !noOptions.has(name));
  for (const option of [...removed, ...given.map(([name]) => name)])
    if (option !== 'tags') requireForOption(call, option);
  for (const [option, value] of given) {
    if (isDrive(option)) requireStorage(call, option, parseParts(value, 'file'));
    if (isDrive(option) && !isNew) requireForDrive(call, value);
    if (/^serial\d+$/.test(option)) requireForSerial(call, option, value);
    if (/^net\d+$/.test(option)) requireBridge(call, value);
    // Before 9 nobody asked for those that a new one has.
    if (option === 'tags' && (!isNew || world.major > 8)) requireForTags(call, value);
  }
  for (const option of [...removed, ...given.map(([name]) => name)]) {
    const now = config[option];
    if (now === undefined) continue;
    if (isDrive(option)) requireForDrive(call, now);
    if (/^net\d+$/.test(option)) requireBridge(call, now);
    if (option === 'tags' && removed.includes(option)) requireForTags(call, '');
  }
}
