import { Client, credentials } from '@grpc/grpc-js';
import * as clusterMessages from '#shared/gen/drover/fleet/v1/cluster.ts';
import * as messages from '#shared/gen/drover/fleet/v1/fleet.ts';
import { type RpcClient, createClient } from '#shared/rpc-client.ts';
import type { Context } from './contexts.ts';

/** The services of one control plane over one connection. */
export interface Connection {
  readonly context: Context;
  readonly fleet: RpcClient<typeof messages.FleetServiceService>;
  readonly nodes: RpcClient<typeof messages.NodeServiceService>;
  readonly operations: RpcClient<typeof messages.OperationServiceService>;
  readonly clusters: RpcClient<typeof clusterMessages.ClusterServiceService>;
  /** The generated code of the contract; reached through here, so that only a connection loads it. */
  readonly messages: typeof messages;
  readonly clusterMessages: typeof clusterMessages;
  close(): void;
}

/** Loads gRPC; only commands that talk to a control plane do. */
export function openConnection(context: Context): Connection {
  const pem = (text: string): Buffer => Buffer.from(text);
  const secure = credentials.createSsl(pem(context.ca), pem(context.key), pem(context.certificate), {
    checkServerIdentity: (_host, { subjectaltname }) => refuseOthers(subjectaltname ?? ''),
  });
  const base = new Client(context.address, secure, {
    'grpc.max_reconnect_backoff_ms': 1000,
    // The name in the handshake only: an address in numbers may not stand there.
    'grpc.ssl_target_name_override': 'control-plane.drover',
  });
  return {
    context,
    messages,
    clusterMessages,
    fleet: createClient(messages.FleetServiceService, base, secure),
    nodes: createClient(messages.NodeServiceService, base, secure),
    operations: createClient(messages.OperationServiceService, base, secure),
    clusters: createClient(clusterMessages.ClusterServiceService, base, secure),
    close: () => base.close(),
  };
}

/** The fleet's own authority signed it, so its role decides and not the address that led here. */
function refuseOthers(names: string): Error | undefined {
  if (/(^|, )"?URI:drover:\/\/[^/]+\/control-plane\//.test(names)) return undefined;
  return new Error(`what answers is not a control plane of this fleet; its certificate names ${names}`);
}
