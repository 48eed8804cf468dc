import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { DroverError } from '#shared/errors.ts';

/**
 * Runs a program of this machine with our own standard streams, and answers its exit code as a shell would.
 * Ctrl-C is the program's as much as ours: we wait for its end. invalid-argument: there is no such program.
 */
export async function runBeside([program = '', ...args]: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit' });
  // A terminal's interrupt reaches both; what another sends to us alone is passed on.
  const passOn = (name: NodeJS.Signals): void => void child.kill(name);
  const ends = ['SIGTERM', 'SIGHUP'] as const;
  for (const name of ends) process.on(name, passOn);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    child.once('error', reject);
    child.once('exit', (code, name) => resolve(code ?? 128 + (name === null ? 0 : constants.signals[name])));
    return await promise;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DroverError('invalid-argument', `${program} cannot be run: ${why}`, { cause });
  } finally {
    for (const name of ends) process.off(name, passOn);
  }
}
