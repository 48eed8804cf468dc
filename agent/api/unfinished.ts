import { DroverError } from '#shared/errors.ts';
import type { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { Handlers } from '#shared/rpc-server.ts';

const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'this agent cannot do that');
};

async function* refuseStream(): AsyncGenerator<never> {
  yield await refuse();
}

/** Methods that this agent does not have yet. */
export const unfinished = {
  pauseInstance: refuse,
  resumeInstance: refuse,
  console: refuseStream,
  streamStats: refuseStream,
  removeImage: refuse,
  createSnapshot: refuse,
  listSnapshots: refuseStream,
  rollbackSnapshot: refuse,
  removeSnapshot: refuse,
  listVolumes: refuseStream,
  removeVolume: refuse,
} satisfies Partial<Handlers<typeof RuntimeServiceService>>;
