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
  /** Of the last death, cut or return; of the clock's nowMs. Others notice late. */
  changedAtMs: number;
  bootedAtMs: number;
  /** Upper-case SHA-256 with colons, once its endpoint is open. */
  fingerprint: string;
  /** Another node holds connections to it: the first call after its death meets a reset. */
  openConnections: boolean;
  lastPid: number;
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
