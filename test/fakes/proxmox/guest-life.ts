/** What containers and virtual machines have in common: locks, digests, start and stop, the answer to GET config. */
import { createHash } from 'node:crypto';
import { parameterFailure, refusal } from './failure.ts';
import { parseList } from './guest-property.ts';
import { lxcLockFile, qemuLockFile } from './locks.ts';
import { renderLxcValue } from './lxc-config.ts';
import { renderQemuValue } from './qemu-config.ts';
import type { Call } from './route.ts';
import type { Guest, GuestConfig, GuestSnapshot, World } from './world.ts';

export type Kind = Guest['kind'];

export const guestOf = (call: Call, kind: Kind): Guest =>
  call.world.needGuest(call.node, kind, call.parameters['vmid'] ?? '');

export const label = (kind: Kind): 'CT' | 'VM' => (kind === 'lxc' ? 'CT' : 'VM');
export const lockFileOf = (guest: Pick<Guest, 'kind' | 'vmid'>): string =>
  guest.kind === 'lxc' ? lxcLockFile(guest.vmid) : qemuLockFile(guest.vmid);

export function checkUnlocked(guest: Guest): void {
  const { lock } = guest.config;
  if (lock !== undefined) throw refusal(`${label(guest.kind)} is locked (${lock})`);
}

/** Proxmox knows a configuration by the SHA-1 of its text. */
export function digestOf(guest: Guest): string {
  const text = [guest.vmid, guest.config, [...guest.pending], [...guest.snapshots.values()]];
  return createHash('sha1').update(JSON.stringify(text)).digest('hex');
}

export function checkDigest(guest: Guest, digest: string | undefined): void {
  if (digest === undefined || digest === digestOf(guest)) return;
  throw refusal(
    guest.kind === 'lxc'
      ? 'detected modified configuration - file changed by other user? Try again.'
      : 'checksum mismatch (file change by other user?)',
  );
}

export function newMac(world: World): string {
  const bytes = [...world.random.bytes(3)].map((byte) => byte.toString(16).padStart(2, '0'));
  return ['BC', '24', '11', ...bytes].join(':').toUpperCase();
}

export function begin(world: World, guest: Guest): void {
  const node = world.nodes.get(guest.node);
  if (node !== undefined) node.lastPid += 13;
  guest.status = 'running';
  guest.qmpStatus = 'running';
  guest.pid = node?.lastPid ?? 1;
  guest.startedAtMs = world.clock.nowMs();
}

export function halt(guest: Guest): void {
  guest.status = 'stopped';
  guest.qmpStatus = 'stopped';
  guest.pid = undefined;
  guest.startedAtMs = undefined;
}

/** What waited takes effect. */
export function applyPending(guest: Guest): void {
  for (const [key, value] of guest.pending) {
    if (value === undefined) delete guest.config[key];
    else guest.config[key] = value;
  }
  guest.pending.clear();
}

const renderOf = (kind: Kind): typeof renderLxcValue => (kind === 'lxc' ? renderLxcValue : renderQemuValue);

function rendered(kind: Kind, config: Readonly<GuestConfig>): Record<string, unknown> {
  const render = renderOf(kind);
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, render(key, value)]));
}

function needSnapshot(guest: Guest, name: string): GuestSnapshot {
  const snapshot = guest.snapshots.get(name);
  if (snapshot === undefined) throw refusal(`snapshot '${name}' does not exist`);
  return snapshot;
}

/** The configuration that a snapshot keeps, as answers show it. */
export function snapshotConfig(guest: Guest, name: string): Record<string, unknown> {
  const { config, snapTime, description, parent } = needSnapshot(guest, name);
  const { description: _, parent: __, lock: ___, ...kept } = config;
  const about: GuestConfig = { snaptime: String(snapTime) };
  if (description !== undefined) about.description = description;
  if (parent !== undefined) about.parent = parent;
  return rendered(guest.kind, { ...kept, ...about });
}

/** GET config: with what waits, unless `current=1` or a snapshot is asked for. */
export function configAnswer(call: Call, kind: Kind): unknown {
  const guest = guestOf(call, kind);
  const { snapshot, current } = call.parameters;
  const digest = digestOf(guest);
  if (snapshot !== undefined) {
    // A machine's snapshot has no digest of its own in the answer; a container's has that of the file.
    return { ...snapshotConfig(guest, snapshot), digest };
  }
  if (current === '1') return { ...rendered(kind, guest.config), digest };
  const wanted = { ...guest.config };
  for (const [key, value] of guest.pending) {
    if (value === undefined) delete wanted[key];
    else wanted[key] = value;
  }
  return { ...rendered(kind, wanted), digest };
}

export function pendingAnswer(call: Call, kind: Kind): unknown {
  const guest = guestOf(call, kind);
  const render = renderOf(kind);
  const rows: Record<string, unknown>[] = Object.entries(guest.config).map(([key, value]) => {
    const row: Record<string, unknown> = { key, value: render(key, value) };
    if (!guest.pending.has(key)) return row;
    const next = guest.pending.get(key);
    return next === undefined ? { ...row, delete: 1 } : { ...row, pending: render(key, next) };
  });
  for (const [key, value] of guest.pending) {
    if (value !== undefined && guest.config[key] === undefined)
      rows.push({ key, pending: render(key, value) });
  }
  return [...rows, { key: 'digest', value: digestOf(guest) }];
}

export interface ConfigChange {
  readonly set: ReadonlyMap<string, string>;
  readonly remove: readonly string[];
  readonly revert: readonly string[];
}

const notOptions = new Set([
  'node',
  'vmid',
  'digest',
  'delete',
  'revert',
  'skiplock',
  'force',
  'background_delay',
]);

/** What a PUT config asks for, checked for contradictions. `required` cannot be deleted. */
export function parseChange(call: Call, knows: (key: string) => boolean, required: string): ConfigChange {
  const { parameters } = call;
  const set = new Map(Object.entries(parameters).filter(([key]) => !notOptions.has(key)));
  const remove = parseList(parameters['delete'] ?? '');
  const revert = parseList(parameters['revert'] ?? '');
  if (set.size + remove.length + revert.length === 0) throw refusal('no options specified');
  for (const key of remove) {
    if (set.has(key)) {
      throw parameterFailure({ delete: `you can't use '-${key}' and -delete ${key}' at the same time` });
    }
    if (key === required) throw refusal(`unable to delete required option '${key}'`);
    if (!knows(key)) throw parameterFailure({ delete: `unknown option '${key}'` });
  }
  return { set, remove, revert };
}

/** Runs under the guest's lock file, as a call that answers only then; waits at most ten virtual seconds. */
export async function underLock<Result>(
  world: World,
  guest: Pick<Guest, 'kind' | 'vmid' | 'node'>,
  work: () => Promise<Result> | Result,
): Promise<Result> {
  const release = await world.locks.acquire(guest.node, lockFileOf(guest));
  try {
    return await work();
  } finally {
    release();
  }
}

/** Only root@pam itself, no token of it. */
export const isRoot = (call: Call): boolean => call.caller.authId === 'root@pam';

export function refuseSkipLock(call: Call): void {
  if (call.parameters['skiplock'] === undefined || isRoot(call)) return;
  throw parameterFailure({ skiplock: 'Only root may use this option.' });
}

export const managedByHa = ({ ha }: World, guest: Pick<Guest, 'kind' | 'vmid'>): boolean => {
  const resource = ha.resources.get(sidOf(guest));
  return resource !== undefined && resource.state !== 'ignored';
};
export const sidOf = ({ kind, vmid }: Pick<Guest, 'kind' | 'vmid'>): string =>
  `${kind === 'lxc' ? 'ct' : 'vm'}:${vmid}`;

/** The first of ten thousand that is free, for volumes and mount points: "unused0". */
export function firstFree(prefix: string, taken: Readonly<Record<string, unknown>>): string {
  let index = 0;
  while (`${prefix}${index}` in taken) index += 1;
  return `${prefix}${index}`;
}
