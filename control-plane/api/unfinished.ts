import { DroverError } from '#shared/errors.ts';

const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'this control plane cannot do that');
};

export async function* refuseStream(): AsyncGenerator<never> {
  yield await refuse();
}
