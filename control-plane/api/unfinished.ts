import { DroverError } from '#shared/errors.ts';

export const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'this control plane cannot do that');
};

export async function* refuseStream(): AsyncGenerator<never> {
  yield await refuse();
}

/** Methods of FleetService that this control plane does not have yet. */
export const unfinished = {
  listVolumes: refuseStream,
  removeVolume: refuse,
};
