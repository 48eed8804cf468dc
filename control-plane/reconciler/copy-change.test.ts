import { describe, expect, it } from 'vitest';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import type { Instance, Workload } from '#shared/model.ts';
import { instanceTemplate } from '../store/instance-template.ts';
import { nextChange } from './copy-change.ts';
import { rollout, type RolloutWorld } from './rollout.ts';

const world: RolloutWorld = { nowMs: 1_000_000, stale: () => false };
const adopted: RolloutWorld = { ...world, isAdopted: () => true };
type Spec = Partial<Workload['spec']>;

function made(spec: Spec, generation: number, runtime: string, image: string): Workload {
  const record = workloadRecord({ replicas: 1, runtime, image, ...spec }, { metadata: { generation } });
  return { ...record, resolved: record.resolved && { ...record.resolved, runtime, image: `${image}@x` } };
}

function wayOf(
  before: Spec,
  after: Spec,
  { runtime = 'proxmox-lxc', image = 'proxmox:guest/105', of = world } = {},
) {
  const workload = made(after, 2, runtime, image);
  const template = instanceTemplate(workload);
  if (template === undefined) throw new Error('the record is resolved');
  const old = made(before, 1, runtime, image);
  const { image: _image, runtime: _runtime, ...rest } = instanceRecord(old, 1).spec;
  const instance: Instance = { ...instanceRecord(old, 1), spec: { ...rest, image: `${image}@x`, runtime } };
  return nextChange(workload, [instance], of, template)?.way;
}

const privileged: Spec = {
  security: { ...workloadRecord().spec.security, privileged: true },
};

describe('a guest that was adopted', () => {
  it.each([
    ['its rights', privileged],
    ['the pool of its root', { rootPool: 'fast' }],
    [
      'its rights, with an address of its own',
      { ...privileged, networks: [{ network: 'lan', addresses: ['10.0.0.5'] }] },
    ],
  ] as [string, Spec][])('is never replaced for %s', (_title, after) => {
    const { security: _security, rootPool: _pool, ...before } = after;
    expect(wayOf(before, after, { of: adopted })).toMatchObject({
      kind: 'blocked',
      because: expect.stringContaining('it was adopted') as string,
    });
    // Others are, also those that are copies of a guest.
    expect(wayOf(before, after)).toEqual({ kind: 'replace' });
    expect(wayOf(before, after, { image: 'proxmox:local:vztmpl/x' })).toEqual({ kind: 'replace' });
  });

  it('is changed where it is', () => {
    const resources = { cpuMillicores: 1, memoryMib: 1, diskMib: 1, pids: 1 };
    expect(wayOf({}, { resources }, { of: adopted })).toMatchObject({ kind: 'update' });
    expect(wayOf({}, { startOrder: 3 }, { of: adopted })).toMatchObject({ kind: 'update', change: 'anew' });
  });
});

describe('a guest of a cluster that has data volumes', () => {
  const claim = { name: 'data', mountPath: '/data', sizeMib: 64, pool: '', readOnly: false, keep: false };
  const image = 'proxmox:local:vztmpl/x';

  it('is never replaced: they would go with it', () => {
    const before = { volumes: [claim] };
    expect(wayOf(before, { ...before, ...privileged }, { image })).toMatchObject({
      kind: 'blocked',
      because: expect.stringContaining('data volumes') as string,
    });
    // What its node keeps for the next copy keeps nobody.
    expect(wayOf(before, { ...before, ...privileged }, { image, runtime: 'crun' })).toEqual({
      kind: 'replace',
    });
  });
});

describe('a copy whose node is being emptied', () => {
  const workload = workloadRecord({ replicas: 2 });
  const [first, second] = [instanceRecord(workload, 1), instanceRecord(workload, 2)];
  const leaving: Instance = { ...first, evicting: true };

  it('is replaced although nothing has changed, the new one first', () => {
    expect(rollout(workload, [leaving, second], world)).toMatchObject([{ kind: 'add', count: 1 }]);
    const third = instanceRecord(workload, 3);
    expect(rollout(workload, [leaving, second, third], world)).toMatchObject([
      { kind: 'retire', instance: leaving, because: 'its node is being emptied' },
    ]);
  });

  it('stays while nothing can take its place', () => {
    const third: Instance = { ...instanceRecord(workload, 3), node: undefined, observed: undefined };
    const unplaced = { ...third, placedBecause: '0 of 2 nodes fit' };
    expect(rollout(workload, [leaving, second, unplaced], world)).toEqual([]);
    // Taken back: the copy more goes, and the old one is as wanted.
    expect(rollout(workload, [first, second, unplaced], world)).toMatchObject([
      { kind: 'retire', instance: unplaced },
    ]);
  });
});
