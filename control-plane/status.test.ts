import { describe, expect, it } from 'vitest';
import type { Instance, NodeName, Workload } from '#shared/model.ts';
import { instanceRecord, stateRecord, workloadRecord } from '../test/fakes/records.ts';
import { instanceMessage, workloadStatus } from './status.ts';

const away = 'h9' as NodeName;
const world = { nowMs: 1_000_000, stale: ({ node }: Instance): boolean => node === away };
const workload = workloadRecord({ replicas: 1 });
const copy = (changes: Partial<Instance> = {}, of = workload): Instance => instanceRecord(of, 1, changes);
const exit = { code: 3, unknown: false, outOfMemory: true, atMs: 5 };
const homeless = copy({ node: undefined, observed: undefined, placedBecause: '0 of 2 nodes fit.' });
const failing = copy({ observed: stateRecord({ phase: 'backing-off', exit, nextStartAtMs: 2_000_000 }) });
const changed = workloadRecord({ replicas: 1, user: '7' }, { metadata: { generation: 2 } });

describe('workloadStatus', () => {
  it('is blocked where a copy cannot become what is wanted', () => {
    const claims = [{ name: 'data', mountPath: '/d', sizeMib: 1, pool: '', readOnly: false, keep: true }];
    const before = workloadRecord({ replicas: 1, volumes: claims });
    const after = workloadRecord(
      { replicas: 1, volumes: claims, user: '7' },
      { metadata: { generation: 2 } },
    );
    const hard = { ...world, obstacle: () => 'h1 is cordoned' };
    expect(workloadStatus(after, [copy({}, before)], hard)).toMatchObject({
      state: 'blocked',
      outdated: 1,
      message: 'web-00001 stays as it is: h1 is cordoned',
    });
  });

  it.each<{ name: string; of?: Workload; instances: readonly Instance[]; wanted: object }>([
    {
      name: 'ready',
      instances: [copy()],
      wanted: { state: 'ready', wanted: 1, running: 1, ready: 1, message: '', runtime: 'crun' },
    },
    {
      name: 'progressing while young',
      instances: [copy({ observed: stateRecord({ startedAtMs: world.nowMs - 100 }) })],
      wanted: { state: 'progressing', running: 1, ready: 0, message: '' },
    },
    {
      name: 'blocked without a node',
      instances: [homeless],
      wanted: { state: 'blocked', unplaced: 1, message: 'web-00001: 0 of 2 nodes fit.' },
    },
    {
      name: 'progressing while one makes room for one without a node',
      of: changed,
      instances: [copy({ ...homeless, workloadGeneration: 2 }), copy({ intent: 'remove' })],
      wanted: { state: 'progressing', unplaced: 1, message: '' },
    },
    {
      name: 'blocked without a node while what would make room is silent',
      of: changed,
      instances: [copy({ ...homeless, workloadGeneration: 2 }), copy({ intent: 'remove', node: away })],
      wanted: { state: 'blocked', message: 'web-00001: 0 of 2 nodes fit.' },
    },
    {
      name: 'blocked by a guest that somebody paused',
      instances: [copy({ observed: stateRecord({ phase: 'paused' }) })],
      wanted: { state: 'blocked', ready: 0, message: 'web-00001: paused' },
    },
    {
      name: 'blocked by a guest that fails',
      instances: [failing],
      wanted: {
        state: 'blocked',
        running: 0,
        message: 'web-00001: ended with 3, out of memory; again at 1970-01-01T00:33:20.000Z',
      },
    },
    {
      name: 'blocked by an image that is not there',
      of: { ...workload, resolved: undefined, resolveMessage: 'no such image' },
      instances: [],
      wanted: { state: 'blocked', imageDigest: '', message: 'image registry.example/web:1: no such image' },
    },
    {
      name: 'blocked by a silent node',
      instances: [copy({ node: away })],
      wanted: { state: 'blocked', running: 0, ready: 0, message: '1 copy on nodes that do not answer: h9' },
    },
    {
      name: 'progressing with copies of an older generation',
      of: changed,
      instances: [copy()],
      wanted: { state: 'progressing', running: 1, ready: 0, outdated: 1 },
    },
    {
      name: 'deleting',
      of: { ...workload, deletingSinceMs: 1 },
      instances: [copy({ intent: 'remove' })],
      wanted: { state: 'deleting', wanted: 0, deleting: true },
    },
  ])('tells $name', ({ of = workload, instances, wanted }) => {
    expect(workloadStatus(of, instances, world)).toMatchObject(wanted);
  });
});

describe('instanceMessage', () => {
  it.each<{ of: Instance; wanted: string }>([
    { of: copy(), wanted: '' },
    { of: homeless, wanted: '0 of 2 nodes fit.' },
    { of: copy({ node: undefined, placedBecause: '' }), wanted: 'waits for a node' },
    { of: copy({ node: away }), wanted: 'h9 does not answer: running when last seen, unknown now' },
    { of: copy({ observed: undefined }), wanted: 'ordered on h1, not reported yet' },
    { of: copy({ observed: 'absent' }), wanted: 'h1 holds it no more; another takes its place' },
    { of: copy({ intent: 'remove' }), wanted: 'being removed from h1' },
    { of: copy({ observed: stateRecord({ phase: 'preparing', message: 'pulling' }) }), wanted: 'pulling' },
    { of: copy({ observed: stateRecord({ startedAtMs: world.nowMs - 100 }) }), wanted: 'ready in 900ms' },
    {
      of: copy({ observed: stateRecord({ phase: 'exited', exit: { ...exit, unknown: true } }) }),
      wanted: 'ended, its exit code was lost; its restart policy leaves it so',
    },
  ])('says "$wanted"', ({ of, wanted }) => {
    expect(instanceMessage(of, workload, world)).toBe(wanted);
  });
});
