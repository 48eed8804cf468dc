import { describe, expect, it } from 'vitest';
import type { Instance, NodeName, Workload } from '#shared/model.ts';
import { instanceRecord, stateRecord, workloadRecord } from '../../test/fakes/records.ts';
import { blockedChange, nextRolloutInMs, type RolloutAction, type RolloutWorld, rollout } from './rollout.ts';

const nowMs = 1_000_000;
const away = 'h9' as NodeName;
const world: RolloutWorld = { nowMs, stale: ({ node }) => node === away };

const workload = workloadRecord();
const older = workloadRecord({ env: { VERSION: '1' } });
const newer = workloadRecord({ env: { VERSION: '2' } }, { metadata: { generation: 2 } });
const scaledTo = (replicas: number, of = workload): Workload => ({ ...of, spec: { ...of.spec, replicas } });

const good = (place: number, of = workload): Instance => instanceRecord(of, place);
const young = (place: number, of = workload): Instance =>
  instanceRecord(of, place, { observed: stateRecord({ startedAtMs: nowMs - 400 }) });
const ordered = (place: number, of = workload): Instance =>
  instanceRecord(of, place, { observed: undefined });
const waiting = (place: number, of = workload): Instance =>
  instanceRecord(of, place, { node: undefined, observed: undefined, placedBecause: '' });
const homeless = (place: number, of = workload): Instance =>
  instanceRecord(of, place, { node: undefined, observed: undefined, placedBecause: '0 of 1 nodes fit.' });
const silent = (place: number, of = workload): Instance => instanceRecord(of, place, { node: away });
const vanished = (place: number, of = workload): Instance =>
  instanceRecord(of, place, { observed: 'absent' });
const crashing = (place: number, of = workload): Instance =>
  instanceRecord(of, place, { observed: stateRecord({ phase: 'backing-off', pid: 0, startedAtMs: 0 }) });
const exited = (place: number, code: number, of = workload): Instance => {
  const exit = { code, unknown: false, outOfMemory: false, atMs: 5 };
  return instanceRecord(of, place, {
    observed: stateRecord({ phase: 'exited', pid: 0, startedAtMs: 0, exit }),
  });
};
const going = (instance: Instance): Instance => ({ ...instance, intent: 'remove' });

/** "add 2", "retire 1", "update 1", "finish". */
const told = (actions: readonly RolloutAction[]): string[] =>
  actions.map((action) => {
    if (action.kind === 'add') return `add ${action.count}`;
    const isAbout = action.kind === 'retire' || action.kind === 'update';
    return isAbout ? `${action.kind} ${Number(action.instance.metadata.id.slice(-4))}` : action.kind;
  });

interface Row {
  readonly name: string;
  readonly of?: Workload;
  readonly instances: readonly Instance[];
  readonly wanted: readonly string[];
}

const steady: readonly Row[] = [
  { name: 'makes all copies of a new workload', instances: [], wanted: ['add 3'] },
  { name: 'makes what is missing', instances: [good(1)], wanted: ['add 2'] },
  { name: 'waits while a copy is young', instances: [good(1), good(2), young(3)], wanted: [] },
  { name: 'waits while a copy has no node', instances: [good(1), good(2), homeless(3)], wanted: [] },
  { name: 'finishes when all are ready', instances: [good(1), good(2), good(3)], wanted: ['finish'] },
  {
    name: 'makes nothing before the image is resolved',
    of: { ...workload, resolved: undefined },
    instances: [],
    wanted: [],
  },
  { name: 'never replaces what is silent', instances: [good(1), good(2), silent(3)], wanted: [] },
  { name: 'leaves a crashing copy to its agent', instances: [good(1), good(2), crashing(3)], wanted: [] },
  {
    name: 'replaces what its node holds no more',
    instances: [good(1), good(2), vanished(3)],
    wanted: ['retire 3'],
  },
  {
    name: 'does so before the image is resolved',
    of: { ...workload, resolved: undefined },
    instances: [good(1), good(2), vanished(3)],
    wanted: ['retire 3'],
  },
  {
    name: 'does not believe a silent node that it holds it no more',
    instances: [good(1), good(2), { ...silent(3), observed: 'absent' }],
    wanted: [],
  },
  { name: 'waits for what was never reported', instances: [good(1), good(2), ordered(3)], wanted: [] },
  {
    name: 'counts a copy that ended well as done',
    instances: [good(1), good(2), exited(3, 0)],
    wanted: ['finish'],
  },
  { name: 'does not count one that ended badly', instances: [good(1), good(2), exited(3, 1)], wanted: [] },
  {
    name: 'waits for what still has to go',
    instances: [good(1), good(2), good(3), going(good(4))],
    wanted: [],
  },
  {
    name: 'waits for nobody who is silent and to go',
    instances: [good(1), good(2), good(3), going(silent(4))],
    wanted: ['finish'],
  },
  { name: 'finishes at no copies', of: scaledTo(0), instances: [], wanted: ['finish'] },
];

const scaling: readonly Row[] = [
  { name: 'takes the newest', of: scaledTo(2), instances: [good(1), good(2), good(3)], wanted: ['retire 3'] },
  {
    name: 'takes what has no node first',
    of: scaledTo(2),
    instances: [homeless(1), good(2), crashing(3)],
    wanted: ['retire 1'],
  },
  {
    name: 'then what does not run',
    of: scaledTo(2),
    instances: [crashing(1), good(2), silent(3)],
    wanted: ['retire 1'],
  },
  {
    name: 'then what is silent',
    of: scaledTo(2),
    instances: [silent(1), good(2), good(3)],
    wanted: ['retire 1'],
  },
  {
    name: 'takes all for none',
    of: scaledTo(0),
    instances: [good(1), good(2)],
    wanted: ['retire 2', 'retire 1'],
  },
  {
    name: 'needs no image to take away',
    of: { ...scaledTo(1), resolved: undefined },
    instances: [good(1), good(2)],
    wanted: ['retire 2'],
  },
  {
    name: 'keeps the copies of before when only replicas grew',
    of: scaledTo(3, workloadRecord({}, { metadata: { generation: 2 } })),
    instances: [good(1), good(2)],
    wanted: ['add 1'],
  },
];

const updating: readonly Row[] = [
  {
    name: 'adds one new copy first',
    of: newer,
    instances: [good(1, older), good(2, older), good(3, older)],
    wanted: ['add 1'],
  },
  {
    name: 'waits until the new one is ready',
    of: newer,
    instances: [good(1, older), good(2, older), good(3, older), young(4, newer)],
    wanted: [],
  },
  {
    name: 'then retires the oldest',
    of: newer,
    instances: [good(1, older), good(2, older), good(3, older), good(4, newer)],
    wanted: ['retire 1'],
  },
  {
    name: 'retires what does not run before the oldest',
    of: newer,
    instances: [good(1, older), crashing(2, older), good(3, older), good(4, newer)],
    wanted: ['retire 2'],
  },
  {
    name: 'goes on with the next',
    of: newer,
    instances: [good(2, older), good(3, older), good(4, newer), going(good(1, older))],
    wanted: ['add 1'],
  },
  {
    name: 'ends without a copy more',
    of: newer,
    instances: [good(4, newer), good(5, newer), good(6, newer)],
    wanted: ['finish'],
  },
  {
    name: 'stops at a new copy that fails',
    of: newer,
    instances: [good(1, older), good(2, older), good(3, older), crashing(4, newer)],
    wanted: [],
  },
  {
    name: 'retires an old copy that is gone first of all',
    of: newer,
    instances: [good(1, older), vanished(2, older), good(3, older), young(4, newer)],
    wanted: ['retire 2'],
  },
  {
    name: 'retires old copies that never had a node at once',
    of: newer,
    instances: [good(1, older), good(2, older), homeless(3, older)],
    wanted: ['retire 3'],
  },
  {
    name: 'makes room by one old copy where nothing fits',
    of: newer,
    instances: [good(1, older), good(2, older), good(3, older), homeless(4, newer)],
    wanted: ['retire 1'],
  },
  {
    name: 'makes room once only',
    of: newer,
    instances: [good(2, older), good(3, older), homeless(4, newer), going(good(1, older))],
    wanted: [],
  },
  {
    name: 'does not decide before the scheduler has',
    of: newer,
    instances: [good(1, older), good(2, older), good(3, older), waiting(4, newer)],
    wanted: [],
  },
  {
    name: 'never gives up the only copy for room',
    of: scaledTo(1, newer),
    instances: [good(1, older), homeless(2, newer)],
    wanted: [],
  },
  {
    name: 'goes around a copy that is silent',
    of: newer,
    instances: [silent(1, older), good(2, older), good(3, older), good(4, newer)],
    wanted: ['retire 2'],
  },
  {
    name: 'waits for a silent old copy alone at the end',
    of: newer,
    instances: [silent(1, older), good(4, newer), good(5, newer)],
    wanted: [],
  },
  {
    name: 'is not held up by a new copy that went silent',
    of: newer,
    instances: [silent(4, newer), good(2, older), good(3, older)],
    wanted: ['add 1'],
  },
  {
    name: 'keeps the only copy while the new one is silent',
    of: scaledTo(1, newer),
    instances: [good(1, older), silent(2, newer)],
    wanted: [],
  },
  {
    name: 'waits for an order that is under way',
    of: newer,
    instances: [good(1, older), good(2, older), good(3, older), ordered(4, newer)],
    wanted: [],
  },
  {
    name: 'takes copies away at once when the change wants fewer',
    of: scaledTo(1, newer),
    instances: [good(1, older), good(2, older), good(3, older)],
    wanted: ['retire 3', 'retire 2'],
  },
  {
    name: 'replaces one when the change wanted fewer and so many are left',
    of: scaledTo(1, newer),
    instances: [good(1, older)],
    wanted: ['add 1'],
  },
];

const claim = { name: 'data', mountPath: '/data', sizeMib: 10, pool: '', readOnly: false, keep: true };
const withData = workloadRecord({ volumes: [claim], replicas: 2 });
const withOtherData = workloadRecord(
  { volumes: [claim], replicas: 2, env: { VERSION: '2' } },
  { metadata: { generation: 2 } },
);
const exclusive: readonly Row[] = [
  {
    name: 'retires an old copy before its replacement comes',
    of: withOtherData,
    instances: [good(1, withData), good(2, withData)],
    wanted: ['retire 1'],
  },
  {
    name: 'waits until what is replaced is gone',
    of: withOtherData,
    instances: [going(good(1, withData)), good(2, withData)],
    wanted: [],
  },
  {
    name: 'waits for it also while its node is silent',
    of: withOtherData,
    instances: [going(silent(1, withData)), good(2, withData)],
    wanted: [],
  },
  {
    name: 'adds the replacement once it is gone',
    of: withOtherData,
    instances: [good(2, withData)],
    wanted: ['add 1'],
  },
  {
    name: 'leaves the next one until the replacement is ready',
    of: withOtherData,
    instances: [good(2, withData), young(3, withOtherData)],
    wanted: [],
  },
  {
    name: 'leaves the next one while the replacement has no node',
    of: withOtherData,
    instances: [good(2, withData), homeless(3, withOtherData)],
    wanted: [],
  },
  {
    name: 'goes on when the replacement is ready',
    of: withOtherData,
    instances: [good(2, withData), good(3, withOtherData)],
    wanted: ['retire 2'],
  },
  {
    name: 'does the same for a host port that is named',
    of: workloadRecord(
      {
        replicas: 1,
        ports: [{ hostPort: 80, guestPort: 80, protocol: 'tcp', hostAddress: '' }],
        env: { VERSION: '2' },
      },
      { metadata: { generation: 2 } },
    ),
    instances: [good(1, older)],
    wanted: ['retire 1'],
  },
];

const smaller = workloadRecord({ resources: { cpuMillicores: 1, memoryMib: 1, diskMib: 0, pids: 1 } });
const grown = workloadRecord(
  { resources: { cpuMillicores: 1, memoryMib: 9, diskMib: 0, pids: 1 } },
  { metadata: { generation: 2 } },
);
const system = { runtime: 'lxc', rootPool: 'tank' } as const;
const lxc = (spec: Partial<Workload['spec']>, generation = 1): Workload => {
  const made = workloadRecord({ ...system, replicas: 2, ...spec }, { metadata: { generation } });
  return { ...made, resolved: made.resolved && { ...made.resolved, runtime: 'lxc' } };
};
const inPlace: readonly Row[] = [
  {
    name: 'sets limits where a copy is',
    of: grown,
    instances: [good(1, smaller), good(2, smaller), good(3, smaller)],
    wanted: ['update 1'],
  },
  {
    name: 'waits until the one before is ready',
    of: grown,
    instances: [young(1, grown), good(2, smaller), good(3, smaller)],
    wanted: [],
  },
  {
    name: 'goes on when it is',
    of: grown,
    instances: [good(1, grown), good(2, smaller), good(3, smaller)],
    wanted: ['update 2'],
  },
  {
    name: 'leaves what is silent, and the others go on',
    of: grown,
    instances: [silent(1, smaller), good(2, smaller), good(3, grown)],
    wanted: ['update 2'],
  },
  {
    name: 'does not wait for a copy more that fits nowhere',
    of: grown,
    instances: [good(1, smaller), good(2, smaller), good(3, smaller), homeless(4, grown)],
    wanted: ['update 1'],
  },
  {
    name: 'makes a container anew on its own root',
    of: lxc({ env: { VERSION: '2' } }, 2),
    instances: [good(1, lxc({})), good(2, lxc({}))],
    wanted: ['update 1'],
  },
  {
    name: 'replaces a container with another image',
    of: {
      ...lxc({}, 2),
      resolved: { ...(lxc({}, 2).resolved as NonNullable<Workload['resolved']>), image: 'other' },
    },
    instances: [good(1, lxc({})), good(2, lxc({}))],
    wanted: ['add 1'],
  },
  {
    name: 'replaces a container whose root is to lie in another pool',
    of: lxc({ rootPool: 'fast' }, 2),
    instances: [good(1, lxc({})), good(2, lxc({}))],
    wanted: ['add 1'],
  },
  {
    name: 'replaces a container of another runtime',
    of: lxc({}, 2),
    instances: [good(1, workloadRecord({ replicas: 2 })), good(2, workloadRecord({ replicas: 2 }))],
    wanted: ['add 1'],
  },
  {
    name: 'sees no change in what is kept of its data',
    of: workloadRecord(
      { replicas: 1, volumes: [{ ...claim, keep: false }] },
      { metadata: { generation: 2 } },
    ),
    instances: [good(1, workloadRecord({ replicas: 1, volumes: [claim] }))],
    wanted: ['finish'],
  },
];

const gone = { ...workload, deletingSinceMs: 5 };
const deleting: readonly Row[] = [
  { name: 'retires everything', of: gone, instances: [good(1), silent(2)], wanted: ['retire 1', 'retire 2'] },
  { name: 'waits for what is going', of: gone, instances: [going(good(1))], wanted: [] },
  { name: 'forgets the workload when nothing is left', of: gone, instances: [], wanted: ['forget-workload'] },
];

describe.each([
  ['steady', steady],
  ['scaling', scaling],
  ['updating', updating],
  ['exclusive', exclusive],
  ['in place', inPlace],
  ['deleting', deleting],
])('rollout, %s', (_, rows) => {
  it.each(rows)('$name', ({ of = workload, instances, wanted }) => {
    expect(told(rollout(of, instances, world))).toEqual(wanted);
  });
});

describe('rollout, where the world is in the way', () => {
  const blocking = (kinds: readonly string[], place?: number): RolloutWorld => ({
    ...world,
    obstacle: ({ metadata }, { kind }) =>
      kinds.includes(kind) && (place === undefined || metadata.id.endsWith(`${place}`))
        ? 'no room'
        : undefined,
  });
  const smalls = [good(1, smaller), good(2, smaller), good(3, smaller)];
  const pair = [good(1, withData), good(2, withData)];
  const containers = [good(1, lxc({})), good(2, lxc({}))];
  const grownContainer = lxc({ env: { VERSION: '2' } }, 2);

  it.each([
    ['replaces a copy that its node cannot let grow', grown, smalls, blocking(['update']), ['add 1']],
    ['keeps a container as it is', grownContainer, containers, blocking(['update']), []],
    ['changes the container that can be', grownContainer, containers, blocking(['update'], 1), ['update 2']],
    [
      'keeps an exclusive copy whose replacement has no place',
      withOtherData,
      pair,
      blocking(['replace']),
      [],
    ],
    ['replaces the exclusive one that can be', withOtherData, pair, blocking(['replace'], 1), ['retire 2']],
  ] as const)('%s', (_name, of, instances, hard, wanted) => {
    expect(told(rollout(of, instances, hard))).toEqual(wanted);
  });

  it('says who is blocked, and only when nobody can be changed', () => {
    const hard = blocking(['update', 'replace']);
    expect(blockedChange(grownContainer, containers, hard)).toMatchObject({
      instance: { metadata: { name: 'web-00001' } },
      because: 'no room',
    });
    expect(blockedChange(grownContainer, containers, blocking(['update'], 1))).toBeUndefined();
    expect(blockedChange(grown, smalls, blocking(['update']))).toBeUndefined();
    expect(blockedChange(workload, [good(1)], hard)).toBeUndefined();
  });

  it('gives up the highest slots first', () => {
    const slots = new Map([1, 2, 3].map((place) => [good(place).metadata.id, 4 - place]));
    const slotted: RolloutWorld = { ...world, slotOf: ({ metadata }) => slots.get(metadata.id) };
    const of = scaledTo(1, withData);
    const instances = [good(1, withData), good(2, withData), good(3, withData)];
    expect(told(rollout(of, instances, slotted))).toEqual(['retire 1', 'retire 2']);
  });
});

describe('rollout, where one copy was adopted', () => {
  it('takes every other first, whatever becomes of that one', () => {
    const isAdopted = ({ metadata }: Instance): boolean => metadata.id === good(1).metadata.id;
    const instances = [crashing(1), good(2), good(3)];
    const decide = (replicas: number) =>
      told(rollout(scaledTo(replicas), instances, { ...world, isAdopted }));
    expect(decide(1)).toEqual(['retire 3', 'retire 2']);
    expect(decide(0)).toEqual(['retire 3', 'retire 2', 'retire 1']);
    // Without that it is the first to go.
    expect(told(rollout(scaledTo(2), instances, world))).toEqual(['retire 1']);
  });
});

describe('nextRolloutInMs', () => {
  it('tells when the first young copy is ready', () => {
    expect(nextRolloutInMs(workload, [good(1), young(2)], world)).toBe(600);
  });
  it('is silent when time alone changes nothing', () => {
    expect(nextRolloutInMs(workload, [good(1), homeless(2), silent(3)], world)).toBeUndefined();
  });
  it('reads the start by the clock of the node', () => {
    const ahead: RolloutWorld = { ...world, skewMs: () => 300 };
    expect(nextRolloutInMs(workload, [young(2)], ahead)).toBe(300);
  });
});
