/** Nodes of a cluster: what they are and whether they are there. */
import type { Random } from '#shared/random.ts';

export interface NodeOptions {
  readonly name: string;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly bridges?: readonly string[];
  /** Whether machines can be accelerated; true where left out. */
  readonly kvm?: boolean;
}

export interface WorldNode {
  readonly name: string;
  /** From 1. */
  readonly id: number;
  /** As the cluster tells it; the endpoint of tests is on loopback, whatever this says. */
  ip: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly bridges: string[];
  readonly kvm: boolean;
  /** Its processes run. */
  alive: boolean;
  /** Runs on, but reaches no other node. */
  cut: boolean;
  /** What a connection to it meets while it is dead or cut. */
  answers: 'refused' | 'silent';
  /**
   * The cluster's files on it: 'away' while what serves them is started again; 'apart' without corosync, as if
   * it were in no cluster, with the guests that it knew by then.
   */
  files: 'there' | 'away' | { readonly apartWith: ReadonlySet<number> };
  /** Of the last death, cut or return; of the clock's nowMs. Others notice late. */
  changedAtMs: number;
  bootedAtMs: number;
  /** Upper-case SHA-256 with colons, once its endpoint is open. */
  fingerprint: string;
  /** Another node holds connections to it: the first call after its death meets a reset. */
  openConnections: boolean;
  lastPid: number;
  /** How far its clock is ahead of the world's. */
  skewMs: number;
  /** Of the node itself, guests not counted; tests may set it. */
  readonly usage: { cpu: number; memoryBytes: number; diskBytes: number };
}

const gibibyte = 1024 ** 3;
/** Of the recorded hosts. */
const memoryBytes = 25_276_510_208;
const diskBytes = 270_553_174_016;
/** Until the others notice that a node is gone: corosync's token timeout and what follows. */
export const noticeMs = 7_000;
/** Until they count it among themselves again. */
export const rejoinMs = 3_000;

export function createNodes(
  wanted: readonly (string | NodeOptions)[],
  random: Random,
): Map<string, WorldNode> {
  const nodes = new Map<string, WorldNode>();
  for (const [index, given] of wanted.entries()) {
    const options = typeof given === 'string' ? { name: given } : given;
    nodes.set(options.name, {
      name: options.name,
      id: index + 1,
      ip: `10.99.86.${11 + index}`,
      cpus: options.cpus ?? 2,
      memoryBytes: options.memoryBytes ?? memoryBytes,
      diskBytes,
      bridges: [...(options.bridges ?? ['vmbr0'])],
      kvm: options.kvm ?? true,
      alive: true,
      cut: false,
      answers: 'refused',
      changedAtMs: Number.NEGATIVE_INFINITY,
      bootedAtMs: 0,
      fingerprint: '',
      openConnections: false,
      files: 'there',
      skewMs: 0,
      lastPid: 1000 + Math.floor(random.fraction() * 2000),
      usage: { cpu: 0.05, memoryBytes: 2 * gibibyte, diskBytes: 36 * gibibyte },
    });
  }
  return nodes;
}

/** Whether the rest of the cluster takes it for there: it notices late, both ways. */
export function seenOnline(node: WorldNode, nowMs: number): boolean {
  const there = node.alive && !node.cut;
  const sinceMs = nowMs - node.changedAtMs;
  return there ? sinceMs >= rejoinMs : sinceMs < noticeMs;
}

/** What a node tells of: all there is, or itself and the guests that it knew where it stands apart. */
export function viewOf(
  nodes: ReadonlyMap<string, WorldNode>,
  endpoint: string,
): { readonly nodes: readonly WorldNode[]; knows(vmid: number): boolean } {
  const own = nodes.get(endpoint);
  if (own === undefined || typeof own.files === 'string')
    return { nodes: [...nodes.values()], knows: () => true };
  const { apartWith } = own.files;
  return { nodes: [own], knows: (vmid) => apartWith.has(vmid) };
}

/** What every request is answered while the cluster's files are away: an access list cannot be read. */
export const notReady =
  'RPCEnvironment init request failed: Unable to load access control list: Connection refused';
