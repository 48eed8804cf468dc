import { DroverError } from '#shared/errors.ts';
import type {
  Order as WireOrder,
  RuntimeServiceService,
  WatchInstancesResponse,
} from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { Image } from '#shared/model.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { parseInstanceId } from '#shared/wire/checks.ts';
import { formatLogLine, parseLogOptions } from '#shared/wire/exec.ts';
import {
  formatInstanceSpec,
  formatInstanceState,
  parseInstanceSpec,
  parseOrder,
} from '#shared/wire/instance.ts';
import { formatCondition, formatNodeCapacity, formatNodeFacts } from '#shared/wire/node.ts';
import type { ImageSource } from '../images/image-source.ts';
import type { HeldInstance, InstanceEvent } from '../instances.ts';
import { createSessionHandlers } from './exec.ts';
import { type HelloParts, sayHello } from './hello.ts';
import { imageHandlers } from './image-handlers.ts';
import { snapshotHandlers } from './snapshot-handlers.ts';
import { statsHandlers } from './stats-handlers.ts';
import { volumeHandlers } from './volume-handlers.ts';

export interface RuntimeParts extends HelloParts {
  readonly images: readonly ImageSource[];
  /** Whether the node's owner keeps it. */
  readonly isPinned?: (image: Image) => boolean;
  /** Called once Hello has been answered. */
  readonly onHello: () => void;
}

type RuntimeHandlers = Handlers<typeof RuntimeServiceService>;

/** Parse, call, format. Decisions live in Instances. */
export function runtimeService(parts: RuntimeParts): RuntimeHandlers {
  const { instances } = parts;
  return {
    hello: async (request) => {
      const answer = await sayHello(request, parts);
      parts.onHello();
      return answer;
    },
    ensureInstance: async ({ order, spec }) => ({
      state: formatInstanceState(await instances.ensure(parseOrder(order), parseInstanceSpec(spec))),
    }),
    stopInstance: async ({ order, graceMs }, { signal }) => ({
      state: formatInstanceState(await instances.stop(parseOrder(order), graceMs, signal)),
    }),
    signalInstance: async ({ order, signal: number }, { signal }) => {
      if (number < 1 || number > 64) {
        throw new DroverError('invalid-argument', `wanted a signal from 1 to 64, found ${number}`);
      }
      await instances.signal(parseOrder(order), number, signal);
      return {};
    },
    removeInstance: async ({ order, graceMs }, { signal }) => {
      await instances.remove(parseOrder(order), graceMs, signal);
      return {};
    },
    pauseInstance: async ({ order }, { signal }) => ({
      state: formatInstanceState(await instances.pause(parseOrder(order), signal)),
    }),
    resumeInstance: async ({ order }, { signal }) => ({
      state: formatInstanceState(await instances.resume(parseOrder(order), signal)),
    }),
    ...createSessionHandlers(instances),
    ...readHandlers(parts),
    ...statsHandlers(parts),
    ...volumeHandlers(parts),
    ...snapshotHandlers(parts),
    ...imageHandlers(parts),
  };
}

/**
 * The same for root on the node: its orders speak in the name of the fleet that the node belongs to, for the
 * generation that the instance has.
 */
export function localRuntimeService(parts: RuntimeParts): RuntimeHandlers {
  const handlers = runtimeService(parts);
  const local = (order: WireOrder | undefined): WireOrder => {
    const instanceId = order?.instanceId ?? '';
    const { fleetId, fleetEpoch } = parts.instances.fleet.seen();
    const held = parts.instances.list().find(({ state }) => state.instanceId === instanceId);
    return {
      fleetId,
      fleetEpoch: BigInt(fleetEpoch),
      instanceId,
      generation: BigInt(held?.state.generation ?? 0),
      requestId: order?.requestId ?? '',
    };
  };
  return {
    ...handlers,
    stopInstance: (request, context) =>
      handlers.stopInstance({ ...request, order: local(request.order) }, context),
    removeInstance: (request, context) =>
      handlers.removeInstance({ ...request, order: local(request.order) }, context),
  };
}

function readHandlers({
  instances,
  reports,
  clock,
}: RuntimeParts): Pick<
  RuntimeHandlers,
  'inspectInstance' | 'listInstances' | 'watchInstances' | 'streamLogs' | 'watchNode'
> {
  return {
    inspectInstance: async ({ instanceId }) => ({
      state: formatHeld(await instances.inspect(parseInstanceId(instanceId))),
    }),
    listInstances: async function* () {
      for (const held of instances.list()) yield formatHeld(held);
    },
    watchInstances: async function* ({ incarnation, sequence }, { signal }) {
      const from = { incarnation, sequence: Number(sequence) };
      for await (const event of instances.watch(from, signal))
        yield formatEvent(event, instances.incarnation);
    },
    streamLogs: async function* ({ instanceId, options }, { signal }) {
      const id = parseInstanceId(instanceId);
      for await (const line of instances.logs(id, parseLogOptions(options), signal)) {
        yield formatLogLine(line, instanceId);
      }
    },
    watchNode: async function* (_request, { signal }) {
      for await (const { facts, capacity, conditions } of reports.watch(signal)) {
        yield {
          facts: facts && formatNodeFacts(facts),
          capacity: formatNodeCapacity(capacity),
          conditions: conditions.map(formatCondition),
          clockMs: BigInt(Math.round(clock.nowMs())),
        };
      }
    },
  };
}

const formatHeld = ({ state, spec }: HeldInstance) => ({
  ...formatInstanceState(state),
  spec: spec === undefined || spec.image === '' ? undefined : formatInstanceSpec(spec),
});

function formatEvent(event: InstanceEvent, incarnation: string): WatchInstancesResponse {
  if (event.kind === 'resync') {
    return { sequence: 0n, event: { $case: 'resync', value: { reason: event.reason } } };
  }
  const sequence = BigInt(event.sequence);
  if (event.kind === 'changed') {
    return { sequence, event: { $case: 'changed', value: formatInstanceState(event.state) } };
  }
  if (event.kind === 'removed') return { sequence, event: { $case: 'removed', value: event.id } };
  return { sequence, event: { $case: 'bookmark', value: { incarnation, sequence, revision: 0n } } };
}
