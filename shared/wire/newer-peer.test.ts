import { describe, expect, it } from 'vitest';
import { ExecInput, ExecOutput, InstanceSpec, InstanceState } from '#shared/gen/drover/model/v1/model.ts';
import { WatchInstancesResponse } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { parseExecInput, parseExecOutput } from './exec.ts';
import { formatInstanceState, parseInstanceSpec, parseInstanceState } from './instance.ts';

const instanceId = '0198c0de-0000-7000-8000-000000000001';
/** Field 99, a text: what a newer version may add anywhere. */
const addition = Buffer.from([0x9a, 0x06, 0x03, 0x6e, 0x65, 0x77]);

/** As it comes over the wire: encoded by the one, with more in it than the other knows. */
const received = <T>(
  type: { encode(message: T): { finish(): Uint8Array }; decode(bytes: Uint8Array): T },
  message: T,
): T => type.decode(Buffer.concat([type.encode(message).finish(), addition]));

describe('what a newer peer says', () => {
  it.each([
    ['unknown, the phase of a newer agent', 99],
    ['unknown, none at all', 0],
    ['unknown, one below zero', -1],
  ])('is a phase %s', (_name, phase) => {
    const message = InstanceState.fromPartial({ instanceId, generation: 3n, phase: phase as never, pid: 7 });
    const state = parseInstanceState(received(InstanceState, message));
    expect(state).toMatchObject({ instanceId, generation: 3, phase: 'unknown', pid: 7 });
  });

  it('has no say in the rules of a cluster', () => {
    const bonds = [{ kind: 'only', nodes: ['h1'], because: 'it likes it here' }];
    const message = InstanceState.fromPartial({ instanceId, generation: 3n, bonds });
    const state = parseInstanceState(received(InstanceState, message));
    expect(state).not.toHaveProperty('bonds');
    expect(formatInstanceState({ ...state, bonds: bonds as never }).bonds).toEqual(bonds);
  });

  const spec = {
    runtime: 'crun',
    image: `registry.test/web@sha256:${'a'.repeat(64)}`,
    command: ['true'],
    displayName: 'web-aaaaa',
    workload: 'web',
    resources: { cpuMillicores: 100, memoryMib: 64, diskMib: 10, pids: 8 },
  };
  it.each([
    ['a network mode', { network: 99 as never }, 'network'],
    ['a restart policy', { restart: { policy: 99 as never, maxAttempts: 0 } }, 'restart.policy'],
  ])('is refused where it asks for %s that is not known here', (_name, part, field) => {
    expect(parseInstanceSpec(received(InstanceSpec, InstanceSpec.fromPartial(spec)))).toMatchObject({
      workload: 'web',
    });
    const asked = received(InstanceSpec, InstanceSpec.fromPartial({ ...spec, ...part }));
    expect(() => parseInstanceSpec(asked)).toThrow(expect.objectContaining({ subject: { field } }) as Error);
  });

  it('is skipped where it is a message of an unknown kind', () => {
    const empty = Buffer.alloc(0);
    for (const bytes of [addition, empty]) {
      expect(parseExecInput(ExecInput.decode(bytes))).toBeUndefined();
      expect(parseExecOutput(ExecOutput.decode(bytes))).toBeUndefined();
      expect(WatchInstancesResponse.decode(bytes).event).toBeUndefined();
    }
  });
});
