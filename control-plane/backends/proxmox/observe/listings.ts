import { type Row, rowsOf } from '../api/answer-rows.ts';
import { isOn, numberOf, textOf } from '../guests/properties.ts';
import { isOurTag, parseTags } from '../identity/marks.ts';

/** One node, as the list of all resources has it. What is not told is zero. */
export interface NodeRow {
  readonly node: string;
  readonly online: boolean;
  /** Nothing is known of it but that it is a member: it tells nothing, or who was asked has just begun. */
  readonly silent: boolean;
  readonly uptimeS: number;
  readonly memoryBytes: number;
  readonly memoryUsedBytes: number;
  readonly cpuCount: number;
  /** Of all its processors: 0 to 1. */
  readonly cpuShare: number;
  readonly diskBytes: number;
  readonly diskUsedBytes: number;
  /** "online", "maintenance"; empty: not told. */
  readonly haState: string;
}

/** One guest, whoever's it is, as the list of all resources has it. What is not told is zero. */
export interface GuestRow {
  readonly node: string;
  readonly vmid: number;
  readonly kind: 'lxc' | 'qemu';
  /** Empty: not told. */
  readonly name: string;
  readonly status: 'running' | 'stopped' | 'paused' | 'unknown';
  /** Why a machine stands still where nobody paused it: "io-error". Left out: it does not. */
  readonly trouble?: string;
  readonly template: boolean;
  readonly tags: readonly string[];
  readonly uptimeS: number;
  readonly cpuCount: number;
  readonly cpuShare: number;
  readonly memoryBytes: number;
  readonly memoryUsedBytes: number;
  /** On its node; zero: not told. */
  readonly hostMemoryBytes: number;
  readonly diskBytes: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Empty: HA does not manage it. */
  readonly haState: string;
  readonly lock: string;
}

/** One storage on one node: a shared one has a row for each. */
export interface StorageRow {
  readonly node: string;
  readonly storage: string;
  /** "zfspool". */
  readonly plugin: string;
  readonly content: readonly string[];
  readonly shared: boolean;
  readonly available: boolean;
  readonly sizeBytes: number;
  readonly usedBytes: number;
}

/** All that the list of all resources has. */
export interface Resources {
  readonly nodes: readonly NodeRow[];
  readonly guests: readonly GuestRow[];
  readonly storages: readonly StorageRow[];
}

/** Which nodes the cluster has, as the node sees it that was asked. */
export interface Membership {
  /** As it calls itself; empty: a node that is in no cluster. */
  readonly name: string;
  readonly quorate: boolean;
  readonly nodes: readonly { readonly node: string; readonly online: boolean; readonly address: string }[];
}

/** The answer of `GET /cluster/resources`. Rows that are none are left out. */
export function parseResources(answer: unknown): Resources {
  const nodes: NodeRow[] = [];
  const guests: GuestRow[] = [];
  const storages: StorageRow[] = [];
  for (const row of rowsOf(answer)) {
    const type = row['type'];
    if (textOf(row['node']) === '') continue;
    if (type === 'node') nodes.push(nodeOf(row));
    else if (type === 'storage') storages.push(storageOf(row));
    else if ((type === 'lxc' || type === 'qemu') && numberOf(row['vmid']) > 0)
      guests.push(guestOf(row, type));
  }
  return { nodes, guests, storages };
}

const nodeOf = (row: Row): NodeRow => ({
  node: textOf(row['node']),
  online: row['status'] === 'online',
  silent: row['status'] === 'unknown',
  uptimeS: numberOf(row['uptime']),
  memoryBytes: numberOf(row['maxmem']),
  memoryUsedBytes: numberOf(row['mem']),
  cpuCount: numberOf(row['maxcpu']),
  cpuShare: Math.max(0, numberOf(row['cpu'])),
  diskBytes: numberOf(row['maxdisk']),
  diskUsedBytes: numberOf(row['disk']),
  haState: textOf(row['hastate']),
});

const guestOf = (row: Row, kind: GuestRow['kind']): GuestRow => ({
  node: textOf(row['node']),
  vmid: numberOf(row['vmid']),
  kind,
  name: textOf(row['name']),
  ...stateOfGuest(row),
  template: isOn(row['template']),
  tags: parseTags(row['tags']),
  uptimeS: numberOf(row['uptime']),
  cpuCount: numberOf(row['maxcpu']),
  cpuShare: Math.max(0, numberOf(row['cpu'])),
  memoryBytes: numberOf(row['maxmem']),
  memoryUsedBytes: numberOf(row['mem']),
  hostMemoryBytes: numberOf(row['memhost']),
  diskBytes: numberOf(row['maxdisk']),
  receivedBytes: numberOf(row['netin']),
  sentBytes: numberOf(row['netout']),
  haState: textOf(row['hastate']),
  lock: textOf(row['lock']),
});

const storageOf = (row: Row): StorageRow => ({
  node: textOf(row['node']),
  storage: textOf(row['storage']),
  plugin: textOf(row['plugintype']),
  content: textOf(row['content']).split(','),
  shared: isOn(row['shared']),
  available: row['status'] === 'available',
  sizeBytes: numberOf(row['maxdisk']),
  usedBytes: numberOf(row['disk']),
});

/**
 * Rows of guests that nobody has told of lately have neither name nor figures: what was told last counts on.
 * Another guest may have got the number: that has other tags.
 */
export function withFigures(rows: readonly GuestRow[], before: readonly GuestRow[]): GuestRow[] {
  const known = new Map(before.map((row) => [row.vmid, row]));
  return rows.map((row) => {
    const last = known.get(row.vmid);
    const isSame = last?.kind === row.kind && last.tags.join() === row.tags.join();
    if (row.status !== 'unknown' || last === undefined || !isSame) return row;
    const { node, status, haState, lock } = row;
    const { trouble: _trouble, ...figures } = last;
    return { ...figures, node, status, haState, lock };
  });
}

/** Words for a machine that has a process and does not run: it was suspended, or waits. */
const paused: ReadonlySet<string> = new Set(['paused', 'suspended', 'prelaunch']);
/** What stops one by itself, until a person sees to it. */
const troubles: ReadonlySet<string> = new Set(['io-error', 'internal-error', 'guest-panicked', 'watchdog']);

/**
 * Of a row of the list, and of `status/current`, where machines have a finer word besides. One that is off is
 * given a process while it is backed up.
 */
export function stateOfGuest({ status, qmpstatus, lock }: Row): Pick<GuestRow, 'status' | 'trouble'> {
  const word = textOf(qmpstatus) || textOf(status);
  if (word === 'prelaunch' && lock === 'backup') return { status: 'stopped' };
  if (troubles.has(word)) return { status: 'paused', trouble: word };
  if (paused.has(word)) return { status: 'paused' };
  // Other words are of a moment, such as the end of a migration.
  const known = status === 'running' || status === 'stopped';
  return { status: known ? status : 'unknown' };
}

/** The answer of `GET /cluster/status`. A node without a cluster is its own, and always quorate. */
export function parseMembership(answer: unknown): Membership {
  const rows = rowsOf(answer);
  const cluster = rows.find(({ type }) => type === 'cluster');
  return {
    name: textOf(cluster?.['name']),
    quorate: cluster === undefined || isOn(cluster['quorate']),
    nodes: rows
      .filter(({ type, name }) => type === 'node' && textOf(name) !== '')
      .map((row) => ({ node: textOf(row['name']), online: isOn(row['online']), address: textOf(row['ip']) })),
  };
}

/** The answer of `GET /version`. */
export const parseVersion = (answer: unknown): string =>
  typeof answer === 'object' && answer !== null ? textOf((answer as Row)['version']) : '';

/** The guests of a cluster, to be found by what identifies them. */
export interface GuestIndex {
  readonly byTag: ReadonlyMap<string, readonly GuestRow[]>;
  readonly byVmid: ReadonlyMap<number, GuestRow>;
}

export function indexGuests(guests: readonly GuestRow[]): GuestIndex {
  const byTag = new Map<string, GuestRow[]>();
  for (const row of guests) {
    for (const tag of row.tags) {
      if (!isOurTag(tag)) continue;
      const group = byTag.get(tag);
      if (group === undefined) byTag.set(tag, [row]);
      else group.push(row);
    }
  }
  return { byTag, byVmid: new Map(guests.map((row) => [row.vmid, row])) };
}

/** A guest of ours as the list has it. */
export interface FoundGuest {
  readonly row: GuestRow | undefined;
  /** A guest with its number and without its tag: only its configuration tells whose it is. */
  readonly doubtful: GuestRow | undefined;
  /** Others with its tag: copies that somebody made by hand. Not ours. */
  readonly copies: readonly GuestRow[];
}

/**
 * Which of the guests is a record's. It is known by its tag, never by its node or number alone. Where several
 * have the tag, it is the one with its number; where its number is gone and one has the tag, it was restored
 * under another number, unless it was there as a copy before.
 */
export function findOwn(
  tag: string,
  vmid: number,
  { byTag, byVmid }: GuestIndex,
  knownCopies: ReadonlySet<number>,
): FoundGuest {
  const tagged = byTag.get(tag) ?? [];
  const there = byVmid.get(vmid);
  const numbered = tagged.find((row) => row.vmid === vmid);
  const [only, ...others] = tagged;
  const isRestored = there === undefined && only !== undefined && others.length === 0;
  const row = numbered ?? (isRestored && !knownCopies.has(only.vmid) ? only : undefined);
  return {
    row,
    doubtful: row === undefined ? there : undefined,
    copies: tagged.filter((each) => each !== row),
  };
}
