import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { RuntimeFacts } from '#shared/model.ts';
import { crunCapabilities } from './crun-plan.ts';
import type { DriverContext } from './driver.ts';

/** Whether crun, conmon and perl are there, and cgroups are as crun needs them. */
export async function crunFacts(
  { commands }: DriverContext,
  runtime: string,
  cgroupFault: string,
  signal: AbortSignal,
): Promise<RuntimeFacts> {
  const facts = { name: 'crun', version: '', capabilities: crunCapabilities };
  try {
    const { stdout } = await commands.run(runtime, ['--version'], { signal, timeoutMs: 5000 });
    const version = /crun version (\S+)/.exec(stdout)?.[1];
    if (version === undefined)
      throw new DroverError('unavailable', `${path.basename(runtime)} says no version`);
    await commands.run('conmon', ['--version'], { signal, timeoutMs: 5000 });
    await commands.run('perl', ['-e', 'use Socket'], { signal, timeoutMs: 5000 });
    return { ...facts, version, healthy: cgroupFault === '', detail: cgroupFault };
  } catch (error) {
    const { message, nextStep } = error as Partial<DroverError>;
    return { ...facts, healthy: false, detail: [message, nextStep].filter(Boolean).join('; ') };
  }
}
