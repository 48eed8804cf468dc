import { describe, expect, it } from 'vitest';
import type { Instance, InstanceId, NodeName, Volume } from '#shared/model.ts';
import { instanceRecord, stateRecord, workloadRecord } from '../../test/fakes/records.ts';
import { nextStep, resolveStep, volumeStep } from './plan.ts';

const away = 'h9' as NodeName;
const world = { stale: ({ node }: Instance): boolean => node === away };
const workload = workloadRecord();
const instance = (changes: Partial<Instance> = {}): Instance => instanceRecord(workload, 1, changes);
const leaving = [
  {
    network: 'lan',
    bridge: 'drv-lan',
    managedBridge: true,
    interface: 'eth0',
    mac: '02:00:00:00:00:01',
    addresses: ['10.20.0.5/24'],
    gateways: [],
    mtu: 0,
    vlan: 0,
    masquerade: false,
    nodePrivateSubnet: '',
    routes: [],
  },
];
const newerGeneration = { ...instance().metadata, generation: 2 };

const claim = { name: 'data', mountPath: '/data', sizeMib: 10, pool: '', readOnly: false, keep: false };
const claiming = workloadRecord({ volumes: [claim] });
const volume = (changes: Partial<Volume> = {}): Volume => ({
  metadata: { ...workload.metadata, name: 'web-data-0', id: 'volume-1' },
  workload: 'web',
  claim: 'data',
  slot: 0,
  node: 'h1' as NodeName,
  instanceId: undefined,
  sizeMib: 10,
  pool: '',
  keep: false,
  removingSinceMs: undefined,
  ...changes,
});
const user = '0198c0de-0000-7000-8000-000000000001' as InstanceId;

describe('volumeStep', () => {
  it.each([
    ['leaves what a workload claims', volume(), claiming, undefined],
    ['removes what no workload claims', volume(), workload, 'remove-volume'],
    ['removes what a workload leaves behind', volume(), undefined, 'remove-volume'],
    [
      'removes it while the workload is being deleted',
      volume(),
      { ...claiming, deletingSinceMs: 1 },
      'remove-volume',
    ],
    ['keeps what is to be kept', volume({ keep: true }), undefined, undefined],
    [
      'removes also that when somebody asked',
      volume({ keep: true, removingSinceMs: 1 }),
      claiming,
      'remove-volume',
    ],
    [
      'waits for the instance that has it',
      volume({ removingSinceMs: 1, instanceId: user }),
      undefined,
      undefined,
    ],
    ['waits for a silent node', volume({ node: away }), undefined, undefined],
    ['forgets what lies nowhere', volume({ node: undefined }), undefined, 'remove-volume'],
  ] as const)('%s', (_name, of, owner, wanted) => {
    expect(volumeStep(of, owner, (node) => node !== away)?.kind).toBe(wanted);
  });
});

describe('nextStep', () => {
  it.each<{ name: string; of: Instance; wanted: string | undefined }>([
    {
      name: 'places what has no node',
      of: instance({ node: undefined, observed: undefined }),
      wanted: 'place',
    },
    { name: 'orders what was never reported', of: instance({ observed: undefined }), wanted: 'ensure' },
    {
      name: 'orders nothing for what its node holds no more',
      of: instance({ observed: 'absent' }),
      wanted: undefined,
    },
    { name: 'orders a newer generation', of: instance({ metadata: newerGeneration }), wanted: 'ensure' },
    { name: 'leaves alone what runs', of: instance(), wanted: undefined },
    { name: 'gives back what an update left behind', of: instance({ leaving }), wanted: 'let-go' },
    {
      name: 'does so when it runs no more',
      of: instance({ leaving, observed: stateRecord({ phase: 'exited' }) }),
      wanted: 'let-go',
    },
    {
      name: 'waits while the guest of before may run',
      of: instance({ leaving, observed: stateRecord({ phase: 'preparing' }) }),
      wanted: undefined,
    },
    {
      name: 'waits while the update fails',
      of: instance({ leaving, observed: stateRecord({ phase: 'failed' }) }),
      wanted: undefined,
    },
    {
      name: 'orders the update first',
      of: instance({ leaving, metadata: newerGeneration }),
      wanted: 'ensure',
    },
    { name: 'waits for a silent node', of: instance({ leaving, node: away }), wanted: undefined },
    {
      name: 'leaves a crash to the agent',
      of: instance({ observed: stateRecord({ phase: 'backing-off' }) }),
      wanted: undefined,
    },
    {
      name: 'leaves alone what nobody can tell',
      of: instance({ observed: stateRecord({ phase: 'unknown' }) }),
      wanted: undefined,
    },
    { name: 'waits for a silent node', of: instance({ node: away, observed: undefined }), wanted: undefined },
    { name: 'waits with a removal too', of: instance({ node: away, intent: 'remove' }), wanted: undefined },
    { name: 'removes what is to go', of: instance({ intent: 'remove' }), wanted: 'remove' },
    {
      name: 'removes what may have been ordered',
      of: instance({ intent: 'remove', observed: undefined }),
      wanted: 'remove',
    },
    {
      name: 'forgets what is gone',
      of: instance({ intent: 'remove', observed: 'absent' }),
      wanted: 'forget',
    },
    {
      name: 'forgets what never had a node',
      of: instance({ intent: 'remove', node: undefined, observed: undefined }),
      wanted: 'forget',
    },
  ])('$name', ({ of, wanted }) => {
    expect(nextStep(of, world)?.kind).toBe(wanted);
  });
});

describe('resolveStep', () => {
  it.each([
    { name: 'asks for a new workload', of: { ...workload, resolved: undefined }, wanted: 'resolve-image' },
    { name: 'asks once for each generation', of: workload, wanted: undefined },
    {
      name: 'asks again for the next generation',
      of: { ...workload, metadata: { ...workload.metadata, generation: 2 } },
      wanted: 'resolve-image',
    },
    {
      name: 'asks nothing for what is deleted',
      of: { ...workload, resolved: undefined, deletingSinceMs: 1 },
      wanted: undefined,
    },
  ])('$name', ({ of, wanted }) => {
    expect(resolveStep(of)?.kind).toBe(wanted);
  });
});
