import type {
  Order,
  PullImageProgress as WirePullProgress,
  RuntimeServiceService,
} from '#shared/gen/drover/runtime/v1/runtime.ts';
import { DroverError } from '#shared/errors.ts';
import type { NodeName } from '#shared/model.ts';
import type { ExecOutput, ExecStart } from '#shared/streams.ts';
import type { RpcClient } from '#shared/rpc-client.ts';
import { parseDigest } from '#shared/wire/checks.ts';
import {
  formatExecInput,
  formatExecStart,
  formatLogOptions,
  parseExecOutput,
  parseLogLine,
} from '#shared/wire/exec.ts';
import { cleanLine, formatInstanceSpec, formatOrder, parseInstanceState } from '#shared/wire/instance.ts';
import { parseImage } from '#shared/wire/node.ts';
import { parseGuestStats, parseNodeVolume, parseSnapshot } from '#shared/wire/storage.ts';
import type { Backend, ExecChannel, OrderHead, PullProgress } from '../backend.ts';
import type { FleetHead } from './session.ts';

type Client = RpcClient<typeof RuntimeServiceService>;

type Orders = Omit<Backend, 'name' | 'watch' | 'disconnect' | 'close'>;

/** Everything that is asked of one node: messages out, parsed answers back, errors naming the node. */
export function agentOrders(clientOf: (node: NodeName) => Client, fleet: FleetHead): Orders {
  const orderOf = ({ instanceId, generation, requestId }: OrderHead) =>
    formatOrder({ ...fleet, instanceId, generation, requestId });
  return {
    async ensureInstance(order, spec, signal) {
      const request = { order: orderOf(order), spec: formatInstanceSpec(spec) };
      const { state } = await clientOf(order.node).ensureInstance(request, { signal });
      return parseInstanceState(state);
    },
    async stopInstance(order, graceMs, signal) {
      const request = { order: orderOf(order), graceMs };
      const { state } = await clientOf(order.node).stopInstance(request, { signal });
      return parseInstanceState(state);
    },
    async signalInstance(order, signalNumber, signal) {
      const request = { order: orderOf(order), signal: signalNumber };
      await clientOf(order.node).signalInstance(request, { signal });
    },
    async removeInstance(order, graceMs, signal) {
      await clientOf(order.node).removeInstance({ order: orderOf(order), graceMs }, { signal });
    },
    async resolveImage(node, reference, credential, signal) {
      const answer = await clientOf(node).resolveImage({ reference, credential }, { signal });
      return { digest: parseDigest(answer.digest), platforms: answer.platforms };
    },
    async *listImages(node, signal) {
      for await (const image of clientOf(node).listImages({}, { signal })) yield parseImage(image);
    },
    async *pullImage(node, image, signal) {
      for await (const progress of clientOf(node).pullImage({ ...image }, { signal }))
        yield parsePullProgress(progress);
    },
    async removeImage(node, digest, signal) {
      const { freedBytes } = await clientOf(node).removeImage({ digest }, { signal });
      return Number(freedBytes);
    },
    async pauseInstance(order, signal) {
      const { state } = await clientOf(order.node).pauseInstance({ order: orderOf(order) }, { signal });
      return parseInstanceState(state);
    },
    async resumeInstance(order, signal) {
      const { state } = await clientOf(order.node).resumeInstance({ order: orderOf(order) }, { signal });
      return parseInstanceState(state);
    },
    freezeInstance: async (order) => cannotFreeze(order),
    thawInstance: async (order) => cannotFreeze(order),
    async *stats(node, instanceId, intervalMs, signal) {
      const request = { instanceId: instanceId ?? '', intervalMs };
      for await (const stats of clientOf(node).streamStats(request, { signal })) yield parseGuestStats(stats);
    },
    ...storageOrders(clientOf, orderOf, fleet),
    exec: async (node, start, _caller, signal) => openExec(clientOf(node), 'exec', start, signal),
    console: async (node, start, _caller, signal) => openExec(clientOf(node), 'console', start, signal),
    async *logs(node, instanceId, options, signal) {
      const request = { instanceId, options: formatLogOptions(options) };
      for await (const line of clientOf(node).streamLogs(request, { signal })) yield parseLogLine(line);
    },
  };
}

/** Nobody inside a container could be asked; its processes can be paused. */
function cannotFreeze({ node, instanceId }: OrderHead): never {
  throw new DroverError('unimplemented', `node ${node} freezes no file systems: only virtual machines can`, {
    subject: { node, instance: instanceId, acted: 'no' },
    nextStep: 'drover pause holds all its processes',
  });
}

function storageOrders(
  clientOf: (node: NodeName) => Client,
  orderOf: (order: OrderHead) => Order,
  fleet: FleetHead,
): Pick<
  Orders,
  'createSnapshot' | 'listSnapshots' | 'rollbackSnapshot' | 'removeSnapshot' | 'listVolumes' | 'removeVolume'
> {
  return {
    async createSnapshot(order, { id, name }, signal) {
      const request = { order: orderOf(order), snapshotId: id, name };
      const { snapshot } = await clientOf(order.node).createSnapshot(request, { signal });
      return parseSnapshot(snapshot);
    },
    async *listSnapshots(node, instanceId, signal) {
      const request = { instanceId: instanceId ?? '' };
      for await (const one of clientOf(node).listSnapshots(request, { signal })) yield parseSnapshot(one);
    },
    async rollbackSnapshot(order, snapshotId, signal) {
      const request = { order: orderOf(order), snapshotId };
      const { state } = await clientOf(order.node).rollbackSnapshot(request, { signal });
      return parseInstanceState(state);
    },
    async removeSnapshot(order, snapshotId, signal) {
      await clientOf(order.node).removeSnapshot({ order: orderOf(order), snapshotId }, { signal });
    },
    async *listVolumes(node, signal) {
      for await (const volume of clientOf(node).listVolumes({}, { signal })) yield parseNodeVolume(volume);
    },
    async removeVolume(node, volumeId, signal) {
      const { fleetId, fleetEpoch } = fleet;
      const request = { fleetId, fleetEpoch: BigInt(fleetEpoch), volumeId };
      await clientOf(node).removeVolume(request, { signal });
    },
  };
}

function parsePullProgress({ step, bytesDone, bytesTotal, done, digest }: WirePullProgress): PullProgress {
  return {
    step: cleanLine(step).slice(0, 64),
    bytesDone: Number(bytesDone),
    bytesTotal: Number(bytesTotal),
    done,
    digest: digest === '' ? undefined : parseDigest(digest),
  };
}

async function openExec(
  client: Client,
  method: 'exec' | 'console',
  start: ExecStart,
  signal: AbortSignal,
): Promise<ExecChannel> {
  const closing = new AbortController();
  const call = client[method]({ signal: AbortSignal.any([signal, closing.signal]) });
  let hasEnded = false;
  await call.send(formatExecStart(start));
  async function* output(): AsyncGenerator<ExecOutput> {
    try {
      for await (const message of call.output) {
        const item = parseExecOutput(message);
        if (item !== undefined) yield item;
      }
    } finally {
      hasEnded = true;
    }
  }
  return {
    output: output(),
    async send(input) {
      if (hasEnded) throw new DroverError('failed-precondition', 'the command has ended');
      await call.send(formatExecInput(input));
    },
    close: () => closing.abort(),
  };
}
