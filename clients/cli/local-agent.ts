import { credentials } from '@grpc/grpc-js';
import { DroverError } from '#shared/errors.ts';
import { type InstanceState, InstanceState as StateMessage } from '#shared/gen/drover/model/v1/model.ts';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { type RpcClient, createClient } from '#shared/rpc-client.ts';

/** The agent of this very host, over the socket that only root can open. */
export interface LocalAgent {
  readonly runtime: RpcClient<typeof RuntimeServiceService>;
  list(): Promise<InstanceState[]>;
  /** By full id, or as people call it. not-found. */
  find(name: string): Promise<InstanceState>;
  /** The contract's JSON. */
  toJson(state: InstanceState): unknown;
  close(): void;
}

/** Loads gRPC. What does not answer throws unavailable, with the socket's path. */
export function openLocalAgent(socket: string): LocalAgent {
  const runtime = createClient(RuntimeServiceService, `unix:${socket}`, credentials.createInsecure());

  async function list(): Promise<InstanceState[]> {
    try {
      return await Array.fromAsync(runtime.listInstances({}));
    } catch (cause) {
      throw new DroverError('unavailable', `no agent answers at ${socket}: ${(cause as Error).message}`, {
        reason: 'connection',
        nextStep: 'is it running here, and are you root? --socket names another runDir',
        cause,
      });
    }
  }

  async function find(name: string): Promise<InstanceState> {
    const states = await list();
    const found = states.find(({ instanceId, displayName }) => instanceId === name || displayName === name);
    if (found !== undefined) return found;
    throw new DroverError('not-found', `this host has no instance ${name}`, {
      nextStep: 'drover local list',
    });
  }

  return { runtime, list, find, toJson: StateMessage.toJSON, close: () => runtime.close() };
}
