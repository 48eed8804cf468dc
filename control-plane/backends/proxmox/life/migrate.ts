import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest, NodeName } from '#shared/model.ts';
import { allowsNode } from '#shared/placement-bonds.ts';
import type { OrderHead } from '../../backend.ts';
import type { GuestMove } from '../../cluster-backend.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { disksIn, storagesOf } from '../guests/disks.ts';
import { parseProperties, textOf } from '../guests/properties.ts';
import { lxcObstacles } from '../guests/lxc-migrate.ts';
import { migrationObstacles } from '../guests/qemu-migrate.ts';
import { isLeftToHa } from './guest-state.ts';
import { type HaReader, haBondsOf } from '../ha/ha-placement.ts';
import type { Look } from './look.ts';
import { storageOn } from '../observe/storages.ts';
import type { Orders } from './orders.ts';
import type { OwnGuests } from './own-guests.ts';
import { ask, checkedAgain, perform } from '../tasks/perform.ts';

/** HA moves in its own time. */
const haWithinMs = 300_000;
const haEveryMs = 3000;

type Move = (order: OrderHead, target: NodeName, signal: AbortSignal) => Promise<GuestMove>;

export interface Moves {
  /** Until it is there. failed-precondition: what keeps it where it is. */
  readonly migrate: Move;
  /** What is asked before it, alone. */
  readonly plan: Move;
}

/**
 * Moves guests within their cluster: running machines live, running containers stopped and started again, and
 * what is stopped as it is. What keeps one where it is is asked before anything is done.
 */
export function createMoves(
  tools: ClusterTools,
  parts: { readonly own: OwnGuests; readonly look: Look; readonly orders: Orders; readonly ha: HaReader },
): Moves {
  const { memory, kinds, clock, limits } = tools;
  const { own, look, orders, ha } = parts;

  const stuck = (record: ClusterGuest, words: string): DroverError =>
    new DroverError('failed-precondition', `it stays where it is: ${words}`, {
      subject: { instance: record.instanceId },
      reason: 'stuck',
    });

  async function check(record: ClusterGuest, target: string, signal: AbortSignal): Promise<void> {
    const { config, place } = await look.config(record, signal);
    const lock = textOf(config['lock']);
    if (lock !== '') throw stuck(record, `it is locked (${lock})`);
    // A storage that is kept to other nodes has no row there. Whether one answers, its cluster knows best.
    const missing = storagesOf(disksIn(config)).filter(
      (storage) => storageOn(memory, target, storage) === undefined,
    );
    if (missing.length > 0) throw stuck(record, `${target} has no storage ${missing.join(', ')}`);
    if (record.kind === 'lxc') {
      const obstacles = lxcObstacles(config, (storage) => storageOn(memory, place.node, storage));
      if (obstacles.length > 0) throw stuck(record, [...new Set(obstacles)].join('; '));
    }
    const bridges = memory.nodes.get(target)?.details?.bridges ?? [];
    const wanted = Object.entries(config)
      .filter(([key]) => /^net\d+$/.test(key))
      .flatMap(([, value]) => parseProperties(value).get('bridge') ?? []);
    const lacking = wanted.filter((bridge) => bridges.length > 0 && !bridges.includes(bridge));
    if (lacking.length > 0) throw stuck(record, `${target} has no bridge ${lacking.join(', ')}`);
    await checkHa(record, target, signal);
    await askCluster(record, place.node, target, signal);
  }

  /** HA would not take it there, or would and bring it back: what its rules say now counts. */
  async function checkHa(record: ClusterGuest, target: string, signal: AbortSignal): Promise<void> {
    const { sight } = own.of(record.instanceId);
    if (!isLeftToHa(sight)) return;
    const rules = await ha.read(signal);
    const name = memory.nodes.get(target)?.name;
    if (rules === undefined || name === undefined) return;
    const bars = haBondsOf(tools, record, sight, rules).filter((bond) => !allowsNode(bond, name));
    if (bars.length > 0) throw stuck(record, bars.map(({ because }) => because).join('; '));
  }

  /** What the cluster itself says of it, where it can be asked. */
  async function askCluster(record: ClusterGuest, from: string, target: string, signal: AbortSignal) {
    const { sight } = own.of(record.instanceId);
    const call = kinds[record.kind].calls({ node: from, vmid: sight.vmid }).migratePreconditions(target);
    if (call === undefined) return;
    const obstacles = migrationObstacles(await ask(tools, call, signal), target);
    if (obstacles.length > 0) throw stuck(record, obstacles.join('; '));
  }

  async function untilThere(record: ClusterGuest, target: string, signal: AbortSignal): Promise<void> {
    const endMs = clock.monotonicMs() + haWithinMs;
    const { sight } = own.of(record.instanceId);
    do {
      await look.status(record, signal);
      if (own.of(record.instanceId).sight.node === target) return;
      if (!isLeftToHa(sight)) break;
      await clock.sleep(haEveryMs, signal);
    } while (clock.monotonicMs() < endMs);
    throw new DroverError('unavailable', `it is on ${own.of(record.instanceId).sight.node} still`, {
      subject: { instance: record.instanceId },
    });
  }

  /** Begun, it is waited for: cut off, it may leave disks and a lock that no token may take away. */
  async function moveNow(record: ClusterGuest, target: string, isRunning: boolean, limit: AbortSignal) {
    // It may have waited for its turn for long.
    const { place } = await look.config(record, limit);
    if (place.node === target) return;
    const call = kinds[record.kind].calls(place).migrate(target, isRunning);
    const checked = checkedAgain(call, () => look.config(record, limit));
    await perform(tools, checked, place, limit);
  }

  /** How it would move; undefined: it is there already. */
  async function prepare(record: ClusterGuest, target: string, limit: AbortSignal) {
    await look.status(record, limit);
    const { node, vmid, status } = own.of(record.instanceId).sight;
    if (node === target) return undefined;
    await check(record, target, limit);
    const isRunning = status === 'running' || status === 'paused';
    const way: GuestMove = !isRunning ? 'stopped' : record.kind === 'qemu' ? 'live' : 'restarted';
    return { place: { node, vmid }, isRunning, way };
  }

  return {
    migrate: async (order, targetName, signal) => {
      const { node: target } = orders.reach(targetName);
      return orders.withGuest<GuestMove>(
        order,
        async (record, limit) => {
          const move = await prepare(record, target, limit);
          if (move === undefined) return 'none';
          const guest = own.of(order.instanceId);
          guest.making = new AbortController();
          const either = AbortSignal.any([limit, guest.making.signal]);
          try {
            await limits.run({ node: target }, either, async () => {
              guest.making = undefined;
              guest.movingTo = targetName;
              own.tell(order.instanceId);
              await moveNow(record, target, move.isRunning, limit);
            });
            await untilThere(record, target, limit);
          } finally {
            guest.making = undefined;
            guest.movingTo = undefined;
          }
          return move.way;
        },
        signal,
      );
    },
    plan: async (order, targetName, signal) => {
      const { node: target } = orders.reach(targetName);
      const move = await orders.withGuest(order, (record, limit) => prepare(record, target, limit), signal);
      return move?.way ?? 'none';
    },
  };
}
