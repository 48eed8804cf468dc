import type { InstanceId, InstanceState, NodeName } from '#shared/model.ts';
import type { Observation } from '../backend.ts';
import { parseInstanceState } from '#shared/wire/instance.ts';
import { parseInstanceId } from '#shared/wire/checks.ts';
import type { WatchInstancesResponse } from '#shared/gen/drover/runtime/v1/runtime.ts';

/**
 * What is known of a node's instances, from one session to the next: a watch that resumes is told the
 * changes alone, so the rest must be remembered here.
 */
export interface NodeMemory {
  /** Where the watch of the next session begins. */
  resumeFrom(incarnation: string): { incarnation: string; sequence: bigint };
  /** What a message of the watch means for the reader of the backend. */
  take(message: WatchInstancesResponse): Observation[];
  /** Everything anew, for a new reader. */
  tellAll(): Observation[];
  /** A new session: complete only once it has said so. */
  begin(): void;
}

export function createNodeMemory(node: NodeName): NodeMemory {
  let states = new Map<InstanceId, InstanceState>();
  let knownIncarnation = '';
  let sequence = 0n;
  let isComplete = false;

  const complete = (): Observation => ({ kind: 'complete', node, present: new Set(states.keys()) });

  /** A position counts only once all before it was told: a listing that was cut must begin anew. */
  function advance(to: bigint): void {
    if (isComplete && to > sequence) sequence = to;
  }

  return {
    resumeFrom(incarnation) {
      if (incarnation !== knownIncarnation) {
        knownIncarnation = incarnation;
        sequence = 0n;
      }
      if (sequence === 0n) states = new Map();
      return { incarnation: sequence === 0n ? '' : incarnation, sequence };
    },
    begin() {
      isComplete = false;
    },
    take({ event, sequence: at }) {
      switch (event?.$case) {
        case 'changed': {
          const state = parseInstanceState(event.value);
          states.set(state.instanceId, state);
          advance(at);
          return [{ kind: 'instance', node, state }];
        }
        case 'removed': {
          const instanceId = parseInstanceId(event.value);
          states.delete(instanceId);
          advance(at);
          return [{ kind: 'absent', node, instanceId }];
        }
        case 'bookmark': {
          const wasComplete = isComplete;
          isComplete = true;
          advance(event.value.sequence > at ? event.value.sequence : at);
          return wasComplete ? [] : [complete()];
        }
        case 'resync':
          isComplete = false;
          sequence = 0n;
          states = new Map();
          return [];
        default:
          return [];
      }
    },
    tellAll() {
      const all = [...states.values()].map((state): Observation => ({ kind: 'instance', node, state }));
      return isComplete ? [...all, complete()] : all;
    },
  };
}
