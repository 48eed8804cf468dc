import type { Clock } from '#shared/clock.ts';
import { isKind } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { ClusterRight, NodeFacts, NodeName } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { clusterNodeName } from '../../store/put-cluster-node.ts';
import type { Store } from '../../store/store.ts';
import type { Observation } from '../backend.ts';
import type { ClusterApi, Tasks } from './cluster-api.ts';
import type { ClusterVersion, GuestKind, GuestPlace } from './guests/guest-kind.ts';
import type { HaRules } from './ha/ha-rules.ts';
import type { Limits } from './limits.ts';
import type { GuestRow, NodeRow, StorageRow } from './observe/listings.ts';
import type { TemplateFiles } from './images/template-file.ts';

/** What a task writes is told of the guest that it works on, as it comes: each read of the log at once. */
export type RelayLog = (place: GuestPlace, line: string) => void;

/** What works for one cluster has in common. */
export interface ClusterTools {
  readonly name: string;
  readonly fleetId: string;
  /** Control planes of the fleet with an older one are to write nothing. */
  readonly fleetEpoch: number;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly api: ClusterApi;
  readonly tasks: Tasks;
  readonly limits: Limits;
  readonly kinds: Readonly<Record<'lxc' | 'qemu', GuestKind>>;
  readonly memory: ClusterMemory;
  readonly templateFiles: TemplateFiles;
  readonly relay: RelayLog;
  /** Ends everything that is done for the cluster. */
  readonly signal: AbortSignal;
  put(observation: Observation): void;
}

/** What only a call to the node itself tells; read seldom. */
export interface NodeDetails {
  readonly architecture: string;
  readonly kernel: string;
  readonly bridges: readonly string[];
}

/** How a node does: what it has to give, and what is wrong with it. */
export type Feeling = Pick<Extract<Observation, { kind: 'feeling' }>, 'capacity' | 'conditions'>;

/** One node, as far as it is known. */
export interface NodeMemory {
  readonly name: NodeName;
  /** As the cluster calls it. */
  readonly node: string;
  readonly address: string;
  /** It is a member, and takes part. */
  readonly online: boolean;
  /** Monotonic: since when it tells nothing of itself. Undefined: it does. */
  readonly silentSinceMs: number | undefined;
  readonly row: NodeRow | undefined;
  readonly storages: readonly StorageRow[];
  readonly details: NodeDetails | undefined;
  /** What the reader of the backend was told of it last. */
  readonly told: 'connected' | 'disconnected' | undefined;
  readonly facts: NodeFacts | undefined;
  readonly feeling: Feeling | undefined;
  readonly bootId: string;
}

/** A guest that a newer control plane of our fleet has: we are the old one, restored or left running. */
export interface Holder {
  readonly epoch: number;
  readonly vmid: number;
}

/** Locked for its making, which nobody goes on with. */
export interface HalfMade {
  readonly vmid: number;
  /** As the cluster calls it. */
  readonly node: string;
  /** What to do, for people. */
  readonly message: string;
}

/** What is known of a cluster right now. Its poll writes it; everybody reads it. */
export interface ClusterMemory {
  /** It answers. */
  connected: boolean;
  /** What is wrong; empty: nothing. */
  message: string;
  clusterName: string;
  /** "8.4.21"; empty until it was told. */
  version: string;
  quorate: boolean;
  rights: readonly ClusterRight[];
  mayBePrivileged: boolean;
  lastSeenAtMs: number;
  readonly nodes: Map<string, NodeMemory>;
  guests: readonly GuestRow[];
  /** Templates that we removed, by VMID: until then (monotonic) the list may have them still. */
  readonly goneTemplates: Map<number, { readonly name: string; readonly untilMs: number }>;
  /** Guests that look like ours and are not. */
  copies: readonly GuestRow[];
  /** Guests that we had begun to make, and that only a person can take away. */
  halfMade: readonly HalfMade[];
  /** Undefined: we may write. */
  heldBy: Holder | undefined;
  /** Undefined until it was read: it is where HA manages a guest of ours. */
  ha: HaRules | undefined;
}

export const emptyMemory = (): ClusterMemory => ({
  connected: false,
  message: 'it has not answered yet',
  clusterName: '',
  version: '',
  quorate: false,
  rights: [],
  mayBePrivileged: false,
  lastSeenAtMs: 0,
  nodes: new Map(),
  guests: [],
  goneTemplates: new Map(),
  copies: [],
  halfMade: [],
  heldBy: undefined,
  ha: undefined,
});

/** Without templates that we saw go, whatever an older list says. */
export function withoutGone(
  { goneTemplates }: ClusterMemory,
  rows: readonly GuestRow[],
  nowMs: number,
): readonly GuestRow[] {
  for (const [vmid, { untilMs }] of goneTemplates) if (untilMs <= nowMs) goneTemplates.delete(vmid);
  return rows.filter(({ vmid, template, name }) => !template || goneTemplates.get(vmid)?.name !== name);
}

export function versionOf({ version }: Pick<ClusterMemory, 'version'>): ClusterVersion {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return { major, minor };
}

/** As the fleet calls a node of the cluster. */
export const nodeNameOf = ({ memory, name }: Pick<ClusterTools, 'memory' | 'name'>, node: string): NodeName =>
  memory.nodes.get(node)?.name ?? clusterNodeName(name, node);

/** By its name in the fleet. */
export const nodeCalled = (memory: ClusterMemory, name: NodeName): NodeMemory | undefined =>
  [...memory.nodes.values()].find((each) => each.name === name);

/**
 * Whoever answered does not know a node that takes part: it stands apart from its cluster, such as before its
 * corosync runs, and says nothing of what is there.
 */
export const isApart = (error: unknown, node: string, { nodes }: Pick<ClusterMemory, 'nodes'>): boolean =>
  isKind(error, 'not-found') && error.reason === 'node' && nodes.get(node)?.online === true;
