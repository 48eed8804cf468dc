import type { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
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
import { formatInstanceSpec, formatOrder, parseInstanceState } from '#shared/wire/instance.ts';
import { parseImage } from '#shared/wire/node.ts';
import type { Backend, ExecChannel, OrderHead } from '../backend.ts';
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
    exec: async (node, start, _caller, signal) => openExec(clientOf(node), start, signal),
    async *logs(node, instanceId, options, signal) {
      const request = { instanceId, options: formatLogOptions(options) };
      for await (const line of clientOf(node).streamLogs(request, { signal })) yield parseLogLine(line);
    },
  };
}

async function openExec(client: Client, start: ExecStart, signal: AbortSignal): Promise<ExecChannel> {
  const closing = new AbortController();
  const call = client.exec({ signal: AbortSignal.any([signal, closing.signal]) });
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
