import type { Node, NodeServiceService } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { NodeName } from '#shared/model.ts';
import { DroverError } from '#shared/errors.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { matches } from '#shared/selector.ts';
import { parseNodeName } from '#shared/wire/checks.ts';
import { parseSelectors } from '#shared/wire/workload.ts';
import { type Authority, certificateLife } from '../identity/authority.ts';
import type { JoinTokens } from '../identity/tokens.ts';
import { cordonNode } from '../store/cordon-node.ts';
import { foundNode, putNodeCertificate } from '../store/put-node.ts';
import { giveUpNode, releaseInstances, removeNode } from '../store/remove-node.ts';
import { loseVolumes } from '../store/remove-volume.ts';
import type { ClusterDeps } from './cluster/deps.ts';
import { drainNode } from './drain/drain-node.ts';
import { callerName, type HandlerContext } from './handler.ts';
import { nodeMessage, presentMoment } from './messages.ts';
import { nodeImageHandlers } from './node-images.ts';

export interface NodeServiceDeps extends ClusterDeps {
  readonly authority: Authority;
  readonly tokens: JoinTokens;
  /** Ends whatever connection the node has. */
  readonly disconnect: (node: NodeName, reason: string) => void;
}

/** What people ask about hosts, and what hosts ask about themselves; each promise is in the proto. */
export function nodeService(deps: NodeServiceDeps): Handlers<typeof NodeServiceService, HandlerContext> {
  const { store, authority, tokens, clock } = deps;
  const nodeNow = (name: string): Node => {
    const moment = presentMoment(deps);
    return nodeMessage(foundNode(moment.snapshot, name), moment);
  };
  const cordon = async (
    text: string,
    cordoned: boolean,
    context: HandlerContext,
  ): Promise<{ node: Node }> => {
    const node = parseNodeName(text);
    const caller = callerName(context.caller);
    await store.transact((tx) => cordonNode(tx, { node, cordoned, caller }, clock.nowMs()));
    deps.wake();
    return { node: nodeNow(node) };
  };
  return {
    async createJoinToken({ node, ttlMs, replace }, { caller }) {
      const request = { node: parseNodeName(node), ttlMs, replace, caller: callerName(caller) };
      const { token, expiresAtMs } = await tokens.create(request);
      return { token, expiresAtMs: BigInt(Math.round(expiresAtMs)) };
    },
    async join({ secret, csr, incarnation }) {
      const { node, certificate } = await tokens.redeem({
        secret,
        csr,
        incarnation: parseIncarnation(incarnation),
      });
      const { name } = node.metadata;
      // The host of before is out: its session stands on a certificate that no longer counts.
      deps.disconnect(parseNodeName(name), 'another host has taken its name');
      return {
        certificate: certificate.der,
        authorities: [authority.certificate.der],
        fleetId: authority.fleetId,
        node: name,
      };
    },
    renewCertificate: ({ csr }, context) => renewCertificate(csr, context, deps),
    listNodes: ({ selectors }) => listNodes(selectors, deps),
    getNode: async ({ name }) => ({ node: nodeNow(parseNodeName(name)) }),
    cordonNode: ({ name }, context) => cordon(name, true, context),
    uncordonNode: ({ name }, context) => cordon(name, false, context),
    removeNode: async ({ name, lost }, context) => ({
      released: await remove(parseNodeName(name), lost, callerName(context.caller), deps),
    }),
    drainNode: (request, context) => drainNode(request, context, deps),
    ...nodeImageHandlers(deps),
  };
}

function parseIncarnation(text: string): string {
  if (/^[0-9a-f-]{8,64}$/.test(text)) return text;
  throw new DroverError('invalid-argument', 'incarnation needs 8 to 64 of [0-9a-f-]');
}

async function renewCertificate(
  csr: Uint8Array,
  { caller, certificateSerial }: HandlerContext,
  { store, authority, clock }: NodeServiceDeps,
): Promise<{ certificate: Uint8Array; authorities: Uint8Array[] }> {
  const certificate = await authority.issue(caller, csr);
  if (caller.role === 'node') {
    const oldExpiresAtMs = clock.nowMs() + certificateLife.nodeMs;
    const renewed = {
      node: caller.name,
      callerSerial: certificateSerial,
      certificateSerial: certificate.serial,
      oldExpiresAtMs,
    };
    await store.transact((tx) => putNodeCertificate(tx, renewed, clock.nowMs()));
  }
  return { certificate: certificate.der, authorities: [authority.certificate.der] };
}

async function* listNodes(texts: readonly string[], deps: NodeServiceDeps): AsyncGenerator<Node> {
  const selectors = parseSelectors(texts);
  const moment = presentMoment(deps);
  const nodes = moment.snapshot
    .list('node')
    .map((node) => nodeMessage(node, moment))
    .filter(({ metadata }) => selectors.every((selector) => matches(selector, metadata?.labels ?? {})))
    .toSorted((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
  yield* nodes;
}

/**
 * A lost node is given up first: only when no order and no session of it counts are its instances placed
 * elsewhere.
 */
async function remove(
  node: NodeName,
  lost: boolean,
  caller: string,
  { store, clock, disconnect, wake }: NodeServiceDeps,
): Promise<string[]> {
  const released: string[] = [];
  const removal = { node, caller, certificateLifeMs: certificateLife.nodeMs };
  if (lost) {
    await store.transact((tx) => giveUpNode(tx, removal, clock.nowMs()));
    disconnect(node, 'it was given up as lost');
    for (;;) {
      const { result } = await store.transact((tx) => releaseInstances(tx, node, clock.nowMs()));
      if (result.length === 0) break;
      released.push(...result);
    }
    await loseAllVolumes(node, { store, clock });
  }
  await store.transact((tx) => removeNode(tx, removal, clock.nowMs()));
  disconnect(node, 'it was removed from the fleet');
  wake();
  return released;
}

async function loseAllVolumes(
  node: NodeName,
  { store, clock }: Pick<NodeServiceDeps, 'store' | 'clock'>,
): Promise<void> {
  for (;;) {
    const { result } = await store.transact((tx) => loseVolumes(tx, node, clock.nowMs()));
    if (result.length === 0) return;
  }
}
