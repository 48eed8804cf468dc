import { describe, expect, it } from 'vitest';
import { createFleet, type SimulatedFleet } from './fleet.ts';
import { createInvariants, unsettled } from './invariants.ts';

/**
 * One seed is one history: what people ask for, what breaks, and when. `DROVER_SEED=n` runs one again,
 * `DROVER_SEEDS=n` as many from the first on.
 */
const { DROVER_SEED: oneSeed, DROVER_SEEDS: seedCount = '200' } = process.env;
const seeds =
  oneSeed === undefined ? Array.from({ length: Number(seedCount) }, (_, n) => n + 1) : [Number(oneSeed)];

const plainNames = ['web', 'api', 'job'];
/** Has data: one claim is there always and kept, one comes, grows and goes. */
const dataName = 'db';
/** System containers: what is not their image changes them where they are. */
const systemName = 'sys';
const names = [...plainNames, dataName, systemName];
const stepsPerHistory = 40;
const settleMs = 300_000;

/** Types of the events of all seeds. */
const happened = new Set<string>();

type Deed = (fleet: SimulatedFleet, pick: <T>(items: readonly T[]) => T) => Promise<void> | void;

const apply: Deed = (fleet, pick) =>
  fleet.apply(pick(plainNames), {
    image: `registry.example/app:${pick([1, 2, 3])}`,
    replicas: pick([0, 1, 2, 3]),
    memoryMib: pick([100, 400, 900]),
  });
const data = { name: 'data', keep: true, sizeMib: 100 };
const applyData: Deed = (fleet, pick) =>
  fleet.apply(dataName, {
    image: `registry.example/db:${pick([1, 1, 2])}`,
    replicas: pick([0, 1, 2, 3]),
    memoryMib: pick([100, 400, 900]),
    claims: pick([[data], [data, { name: 'logs', keep: false, sizeMib: pick([10, 20]) }]]),
    env: pick([{}, { MODE: 'b' }]),
  });
const applySystem: Deed = (fleet, pick) =>
  fleet.apply(systemName, {
    image: `registry.example/sys:${pick([1, 1, 1, 2])}`,
    runtime: 'lxc',
    replicas: pick([1, 2, 3]),
    memoryMib: pick([100, 400, 900]),
    env: pick([{}, { MODE: 'b' }]),
  });
const cut: Deed = ({ nodes }, pick) => pick([...nodes.values()]).disconnect();
const mend: Deed = ({ nodes }, pick) => pick([...nodes.values()]).connect();
const endGuest: Deed = (fleet, pick) => fleet.endGuest(pick([...fleet.nodes.values()]));
const reboot: Deed = ({ nodes }, pick) => pick([...nodes.values()]).reboot();
const wipe: Deed = ({ nodes }, pick) => {
  const node = pick([...nodes.values()]);
  node.disconnect();
  node.wipe();
};

const deeds: readonly Deed[] = [
  apply,
  apply,
  applyData,
  applyData,
  applySystem,
  applySystem,
  async (fleet) => void (await fleet.removeVolume()),
  (fleet, pick) => fleet.scale(pick(names), pick([0, 1, 2, 3])),
  (fleet, pick) => fleet.remove(pick(names)),
  cut,
  cut,
  mend,
  mend,
  endGuest,
  reboot,
  wipe,
  (fleet, pick) => fleet.restart(pick(['ends', 'dies'])),
  (fleet, pick) => fleet.fillDisk(pick([true, false])),
  async (fleet, pick) => {
    const isBack = pick([true, false]) && (await fleet.comeBack());
    if (!isBack && fleet.nodes.size > 3) await fleet.lose(pick([...fleet.nodes.keys()]));
  },
];

async function play(seed: number): Promise<void> {
  const fleet = await createFleet(seed, 5);
  const { clock, random } = fleet;
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random.fraction() * items.length)] as T;
  const broken = createInvariants(fleet);
  const check = (when: string): void => expect(broken(), `seed ${seed}, ${when}`).toEqual([]);

  for (let step = 0; step < stepsPerHistory; step += 1) {
    await settled(fleet, Promise.resolve(pick(deeds)(fleet, pick)).catch(refused));
    check(`after step ${step}`);
    await clock.advance(pick([0, 1, 50, 500, 3000, 15_000]));
    check(`some time after step ${step}`);
  }
  fleet.faults.isOn = false;
  fleet.fillDisk(false);
  for (const node of fleet.nodes.values()) node.connect();
  await clock.advance(settleMs);
  check('at the end');
  expect(unsettled(fleet), `seed ${seed}, after the last fault`).toEqual([]);
  for (const { type } of fleet.control().store.snapshot().list('event')) happened.add(type);
  await settled(fleet, fleet.close());
}

/** A full disk refuses what is asked, which is an answer. */
function refused(error: unknown): void {
  if ((error as { kind?: string }).kind !== 'resource-exhausted') throw error;
}

/** Lets time pass until it is done. */
async function settled(fleet: SimulatedFleet, work: Promise<void>): Promise<void> {
  let isDone = false;
  const noted = work.finally(() => {
    isDone = true;
  });
  noted.catch(() => undefined);
  for (let turns = 0; !isDone && turns < 1000; turns += 1) await fleet.clock.advance(turns < 10 ? 0 : 10);
  return noted;
}

describe('a simulated fleet keeps its promises', () => {
  it.each(seeds)('seed %i', play, 20_000);

  it.skipIf(seeds.length < 50)('has come through what it is about', () => {
    const wanted = ['instance.updated', 'instance.released', 'node.replaced'];
    const ofVolumes = ['volume.retired', 'volume.removed', 'volume.lost'];
    expect([...wanted, ...ofVolumes].filter((type) => !happened.has(type))).toEqual([]);
  });
});
