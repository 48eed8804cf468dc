import type { Clock } from '#shared/clock.ts';
import type { Caller, NodeName } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { CallContext } from '#shared/rpc-server.ts';
import type { Backend } from '../backends/backend.ts';
import type { FleetView } from '../fleet-view.ts';
import type { Store } from '../store/store.ts';

/** A call whose caller has been authenticated and may use the method. */
export interface HandlerContext extends CallContext {
  readonly caller: Caller;
  /** Of the caller's certificate, in lower-case hex; empty for whoever has none. */
  readonly certificateSerial: string;
}

/** What handlers work with. */
export interface HandlerDeps {
  readonly store: Store;
  readonly view: FleetView;
  /** The backend that reaches the node. */
  readonly backendOf: (node: NodeName) => Backend;
  readonly clock: Clock;
  readonly random: Random;
  /** Tells the reconciler that there may be something to do; it carries no data, and may be lost. */
  readonly wake: () => void;
}

/** As operations and requests name the caller: "admin/root". */
export const callerName = ({ role, name }: Caller): string => `${role}/${name}`;
