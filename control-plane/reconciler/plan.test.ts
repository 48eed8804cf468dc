import { describe, expect, it } from 'vitest';
import type { Instance, NodeName } from '#shared/model.ts';
import { instanceRecord, stateRecord, workloadRecord } from '../../test/fakes/records.ts';
import { nextStep, resolveStep } from './plan.ts';

const away = 'h9' as NodeName;
const world = { stale: ({ node }: Instance): boolean => node === away };
const workload = workloadRecord();
const instance = (changes: Partial<Instance> = {}): Instance => instanceRecord(workload, 1, changes);
const newerGeneration = { ...instance().metadata, generation: 2 };

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
