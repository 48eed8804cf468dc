import { DroverError } from '#shared/errors.ts';
import type { CallContext } from '#shared/rpc-server.ts';

const service = '/drover.runtime.v1.RuntimeService/';

/** What root on the node itself may ask: read, stop and remove, never create. */
const localMethods: ReadonlySet<string> = new Set(
  [
    'StopInstance',
    'RemoveInstance',
    'InspectInstance',
    'ListInstances',
    'WatchInstances',
    'StreamLogs',
    'StreamStats',
    'ListImages',
    'ListVolumes',
    'WatchNode',
  ].map((method) => service + method),
);

/** For calls over the unix socket, which only root can open. permission-denied for all that is not listed. */
export function authenticateLocal(context: CallContext): CallContext {
  if (localMethods.has(context.method)) return context;
  const method = context.method.split('/').at(-1) ?? context.method;
  throw new DroverError('permission-denied', `${method} is not for the local socket`, {
    nextStep: 'ask the control plane',
  });
}

/** One session with the control plane, whose certificate the dialling has checked. */
export interface SessionGate {
  /** failed-precondition for every call before Hello. */
  authenticate(context: CallContext): CallContext;
  /** Hello has been said. */
  open(): void;
}

export function createSessionGate(): SessionGate {
  let opened = false;
  return {
    open: () => {
      opened = true;
    },
    authenticate(context) {
      if (opened || context.method === `${service}Hello`) return context;
      throw new DroverError('failed-precondition', 'a session begins with Hello', {
        reason: 'hello-missing',
      });
    },
  };
}
