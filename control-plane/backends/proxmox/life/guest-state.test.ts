import { describe, expect, it } from 'vitest';
import type { ClusterGuest, InstanceId, NodeName } from '#shared/model.ts';
import {
  freshRun,
  furnishingBefore,
  nextGuestStep,
  type Run,
  type Sight,
  stateOf,
  unseen,
} from './guest-state.ts';

const record: ClusterGuest = {
  instanceId: '019ab3c0-1111-7abc-8def-0123456789ab' as InstanceId,
  cluster: 'lab',
  vmid: 101,
  kind: 'lxc',
  node: 'lab-pve1' as NodeName,
  generation: 2,
  intent: 'run',
  specDigest: 'd',
  adopted: false,
  changedAtMs: 0,
  made: true,
  appliedGeneration: 2,
};
const seen: Sight = {
  ...unseen,
  presence: 'present',
  node: 'pve1',
  vmid: 101,
  status: 'running',
  startedAtMs: 5,
};
const failure = { message: 'no space', retryAtMs: 2000 };

interface Row {
  readonly name: string;
  readonly record?: Partial<ClusterGuest>;
  readonly sight?: Partial<Sight>;
  readonly run?: Partial<Run>;
  readonly step: string;
  readonly phase: string;
}

const rows: readonly Row[] = [
  { name: 'a guest that runs as it should', step: 'rest', phase: 'running' },
  { name: 'one that is paused', sight: { status: 'paused' }, step: 'rest', phase: 'paused' },
  {
    name: 'one that is to be made',
    record: { made: false, appliedGeneration: 0 },
    sight: unseen,
    step: 'settle',
    phase: 'preparing',
  },
  { name: 'one that is to become another', record: { generation: 3 }, step: 'settle', phase: 'preparing' },
  {
    name: 'one whose making failed, before its time',
    record: { made: false, appliedGeneration: 0 },
    sight: unseen,
    run: { failure },
    step: 'wait',
    phase: 'failed',
  },
  {
    name: 'one whose making failed, when its time has come',
    record: { made: false, appliedGeneration: 0 },
    sight: unseen,
    run: { failure: { ...failure, retryAtMs: 900 } },
    step: 'settle',
    phase: 'failed',
  },
  { name: 'one that nobody has seen since we started', sight: unseen, step: 'look', phase: 'unknown' },
  { name: 'one whose node says nothing', sight: { status: 'unknown' }, step: 'wait', phase: 'unknown' },
  {
    name: 'one that is gone',
    sight: { presence: 'absent', status: 'unknown' },
    step: 'rest',
    phase: 'unknown',
  },
  { name: 'one that ended', sight: { status: 'stopped' }, step: 'note-end', phase: 'preparing' },
  {
    name: 'one that waits to be started',
    sight: { status: 'stopped' },
    run: { startAtMs: 2000 },
    step: 'wait',
    phase: 'backing-off',
  },
  {
    name: 'one whose wait is over',
    sight: { status: 'stopped' },
    run: { startAtMs: 900 },
    step: 'start',
    phase: 'backing-off',
  },
  {
    name: 'one that ended for good',
    sight: { status: 'stopped' },
    run: { final: true },
    step: 'rest',
    phase: 'exited',
  },
  {
    name: 'one that ended and is HA’s',
    sight: { status: 'stopped', haState: 'started' },
    step: 'rest',
    phase: 'preparing',
  },
  {
    name: 'one that HA ignores',
    sight: { status: 'stopped', haState: 'ignored' },
    step: 'note-end',
    phase: 'preparing',
  },
  {
    name: 'one that a backup stopped',
    sight: { status: 'stopped', lock: 'backup' },
    step: 'rest',
    phase: 'preparing',
  },
  { name: 'one that is to stop', record: { intent: 'stop' }, step: 'stop', phase: 'stopping' },
  {
    name: 'one that has stopped',
    record: { intent: 'stop' },
    sight: { status: 'stopped' },
    step: 'rest',
    phase: 'stopped',
  },
  {
    name: 'one that is to stop out of sight',
    record: { intent: 'stop' },
    sight: { status: 'unknown' },
    step: 'wait',
    phase: 'stopping',
  },
  {
    name: 'one that was to be made and is to stop',
    record: { intent: 'stop', made: false },
    sight: unseen,
    step: 'rest',
    phase: 'stopped',
  },
  { name: 'one that is to go', record: { intent: 'remove' }, step: 'remove', phase: 'stopping' },
  {
    name: 'one that is to go and was never made',
    record: { intent: 'remove', made: false },
    sight: unseen,
    step: 'remove',
    phase: 'stopping',
  },
  { name: 'one that went', record: { intent: 'removed' }, step: 'rest', phase: 'stopping' },
  {
    name: 'one that is being adopted',
    record: { adopted: true, specDigest: '' },
    sight: unseen,
    step: 'rest',
    phase: 'unknown',
  },
];

describe('a guest of ours', () => {
  it.each(rows)(
    '$name: $step, told as $phase',
    ({ record: patch, sight: sightPatch, run: runPatch, step, phase }) => {
      const now = { ...record, ...patch };
      const sight = { ...seen, ...sightPatch };
      const run = { ...freshRun, ...runPatch };
      expect(nextGuestStep(now, sight, run, 1000)).toBe(step);
      const furnishing = furnishingBefore(undefined);
      const state = stateOf(now, sight, run, {
        furnishing,
        displayName: 'web',
        wallMs: (atMs) => atMs + 10_000,
      });
      expect(state.phase).toBe(phase);
    },
  );

  it('tells when it runs, where it is, and when it is tried again', () => {
    const furnishing = { limits: undefined, notEnforced: ['pids'], addresses: ['10.0.0.5'], rootPool: 'btr' };
    const told = { furnishing, displayName: 'web-x', wallMs: (atMs: number) => atMs + 10_000 };
    expect(stateOf(record, seen, { ...freshRun, restarts: 3 }, told)).toEqual({
      instanceId: record.instanceId,
      generation: 2,
      phase: 'running',
      pid: 0,
      startedAtMs: 5,
      exit: undefined,
      restarts: 3,
      nextStartAtMs: 0,
      message: '',
      limits: undefined,
      notEnforced: ['pids'],
      displayName: 'web-x',
      addresses: ['10.0.0.5'],
      rootPool: 'btr',
    });
    const stopped = { ...seen, status: 'stopped' } as const;
    expect(stateOf(record, stopped, { ...freshRun, startAtMs: 2000 }, told)).toMatchObject({
      phase: 'backing-off',
      nextStartAtMs: 12_000,
      addresses: [],
      startedAtMs: 0,
    });
    expect(stateOf({ ...record, generation: 3 }, seen, { ...freshRun, failure }, told)).toMatchObject({
      phase: 'failed',
      message: 'no space',
      nextStartAtMs: 12_000,
    });
  });
});
