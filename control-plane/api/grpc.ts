import type { Duplex } from 'node:stream';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { DroverError } from '#shared/errors.ts';
import { ClusterServiceService } from '#shared/gen/drover/fleet/v1/cluster.ts';
import {
  FleetServiceService,
  NodeServiceService,
  OperationServiceService,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { HealthService } from '#shared/gen/grpc/health/v1/health.ts';
import { ServerReflectionService } from '#shared/gen/grpc/reflection/v1/reflection.ts';
import type { Log } from '#shared/log.ts';
import type { Caller } from '#shared/model.ts';
import { messageBytesMax } from '#shared/rpc-client.ts';
import {
  type CallContext,
  type Handlers,
  mount,
  type MountOptions,
  type Service,
} from '#shared/rpc-server.ts';
import type { Revocation } from '../identity/revocation.ts';
import { anonymous, authenticate } from './authenticate.ts';
import { authorize } from './authorize.ts';
import type { HandlerContext } from './handler.ts';
import { healthService } from './health.ts';
import { reflectionService } from './reflection.ts';

/** The whole interface: a service without handlers does not compile. */
export interface ApiHandlers {
  readonly fleet: Handlers<typeof FleetServiceService, HandlerContext>;
  readonly node: Handlers<typeof NodeServiceService, HandlerContext>;
  readonly operation: Handlers<typeof OperationServiceService, HandlerContext>;
  readonly cluster: Handlers<typeof ClusterServiceService, HandlerContext>;
}

export interface Api {
  /** Serves one connection on which TLS is done. */
  serve(socket: Duplex): void;
  /** Ends every call. */
  close(): void;
}

const limits = {
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
  'grpc.max_concurrent_streams': 256,
  // A caller that is gone without a word is noticed within 30 seconds.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
} as const;

/** The context of a call by somebody unknown; the few methods that they may use do not ask who they are. */
const stranger: Caller = { role: 'viewer', name: anonymous };

/** Mounts the table of handlers, each call behind one guard: who is it, and may they. */
export function createApi(
  handlers: ApiHandlers,
  { revocation, log }: { readonly revocation: Pick<Revocation, 'refusalOf'>; readonly log: Log },
): Api {
  const server = new Server(limits);
  const options: MountOptions<HandlerContext> = {
    guard(context: CallContext): HandlerContext {
      const { who, certificateSerial } = authenticate(context.peer, revocation);
      authorize(context.method, who);
      return { ...context, caller: who === anonymous ? stranger : who, certificateSerial };
    },
    onError(error, { method }) {
      const known = error instanceof DroverError ? error : undefined;
      if (known === undefined || known.kind === 'internal' || known.kind === 'data-loss')
        log.error({ event: 'call.failed', method, err: error });
      else log.debug({ event: 'call.refused', method, kind: known.kind, reason: known.message });
    },
  };
  const known = new Set(
    [FleetServiceService, NodeServiceService, OperationServiceService, ClusterServiceService].map(
      serviceName,
    ),
  );
  mount(server, FleetServiceService, handlers.fleet, options);
  mount(server, NodeServiceService, handlers.node, options);
  mount(server, OperationServiceService, handlers.operation, options);
  mount(server, ClusterServiceService, handlers.cluster, options);
  mount(server, HealthService, healthService(known), options);
  mount(server, ServerReflectionService, reflectionService(known), options);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    serve: (socket) => injector.injectConnection(socket),
    close: () => server.forceShutdown(),
  };
}

/** "drover.fleet.v1.FleetService", from the path of any of its methods. */
function serviceName(service: Service): string {
  const [method] = Object.values(service);
  return method?.path.split('/')[1] ?? '';
}
