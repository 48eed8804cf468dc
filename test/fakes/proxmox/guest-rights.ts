/** Which right a change of a container's configuration needs, option by option; and what guests share. */
import { parseList, parseParts } from './guest-property.ts';
import { storageOf } from './guest-volumes.ts';
import type { Call } from './route.ts';
import { requireForTags } from './tag-rights.ts';

type Rule = readonly [options: RegExp, privilege: string];

const cpu = 'VM.Config.CPU';
const memory = 'VM.Config.Memory';
const disk = 'VM.Config.Disk';
const network = 'VM.Config.Network';
const general = 'VM.Config.Options';

const rules: readonly Rule[] = [
  [/^(?:cores|cpuunits|cpulimit)$/, cpu],
  [/^(?:memory|swap)$/, memory],
  [/^(?:rootfs|mp\d+|unused\d+)$/, disk],
  [/^(?:net\d+|nameserver|searchdomain|hostname)$/, network],
];

/** How a guest is made or asked for, no part of its configuration. */
const noOption =
  /^(?:node|vmid|digest|delete|revert|skiplock|force|background_delay|pool|start|storage|archive)$/;
const noOptionEither =
  /^(?:ostemplate|password|ssh-public-keys|restore|unique|bwlimit|ignore-unpack-errors)$/;
const norThis = /^(?:live-restore|import-working-storage|ha-managed)$/;
/** What they need is asked for elsewhere. */
const apart = /^(?:features|unprivileged)$/;

const privilegeOf = (option: string): string =>
  rules.find(([options]) => options.test(option))?.[1] ?? general;

/** 403 for the first option that the caller may not set or delete; for storages and bridges it may not use. */
export function requireForContainer(call: Call): void {
  const { parameters } = call;
  const vmid = parameters['vmid'] ?? '';
  const removed = [...parseList(parameters['delete'] ?? ''), ...parseList(parameters['revert'] ?? '')];
  const given = Object.entries(parameters).filter(
    ([name]) => !noOption.test(name) && !noOptionEither.test(name) && !norThis.test(name),
  );
  for (const [option, value] of [...given, ...removed.map((name) => [name, ''] as const)]) {
    if (apart.test(option)) continue;
    if (option === 'tags') requireForTags(call, value);
    else requireOnGuest(call, vmid, privilegeOf(option));
    requireForValue(call, option, value);
  }
}

/** The pool that a new guest is to be in is as good as the guest. */
function requireOnGuest(call: Call, vmid: string, privilege: string): void {
  const { pool } = call.parameters;
  if (pool !== undefined && call.may(`/pool/${pool}`, privilege)) return;
  call.require(`/vms/${vmid}`, privilege);
}

export function requireBridge(call: Call, value: string): void {
  const parts = parseParts(value, '');
  const [bridge, tag] = [parts.get('bridge'), parts.get('tag')];
  const path = `/sdn/zones/localnetwork/${bridge}`;
  if (bridge !== undefined) call.require(tag === undefined ? path : `${path}/${tag}`, 'SDN.Use');
}

function requireForValue(call: Call, option: string, value: string): void {
  if (/^net\d+$/.test(option)) requireBridge(call, value);
  const allocates = /^(?:file=|volume=)?([A-Za-z][\w.-]*):\d[^/]*$/.exec(value.split(',')[0] ?? '');
  const isDisk = /^(?:rootfs|mp\d+)$/.test(option);
  const storage = allocates?.[1];
  if (!isDisk || storage === undefined || !call.world.storages.definitions.has(storage)) return;
  call.require(`/storage/${storage}`, 'Datastore.AllocateSpace');
}

/** A copy or a restore needs space where it goes. */
export function requireSpace(call: Call, volids: readonly string[]): void {
  const { storage } = call.parameters;
  for (const id of new Set(storage === undefined ? volids.map(storageOf) : [storage])) {
    call.require(`/storage/${id}`, 'Datastore.AllocateSpace');
  }
}
