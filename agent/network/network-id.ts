import { DroverError } from '#shared/errors.ts';

export const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const namePattern = /^[a-z0-9][a-z0-9-]{0,14}$/;

/** The last line before paths and tools: what a tool would take for something else comes no further. */
export function checkInstanceId(id: string): void {
  if (!idPattern.test(id))
    throw new DroverError('invalid-argument', `${JSON.stringify(id)} is no instance id`);
}

export function checkInterfaceName(name: string): void {
  if (namePattern.test(name)) return;
  const wanted = 'wanted 1 to 15 of a-z, 0-9 and "-"';
  throw new DroverError('invalid-argument', `${JSON.stringify(name)} is no name of an interface; ${wanted}`);
}
