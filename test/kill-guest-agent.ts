import { spawn } from 'node:child_process';
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId } from '#shared/model.ts';
import type { DriverContext } from '../agent/drivers/driver.ts';
import { until } from './until.ts';

/** Kills an agent (guest-agent.ts) so long after it has begun one life cycle; gives what it said until then. */
export async function killGuestAgentAfter(
  { stateDir, runDir, cgroupPrefix }: DriverContext,
  guest: { readonly runtime: string; readonly id: InstanceId; readonly rootfs: string },
  delayMs: number,
): Promise<string> {
  const { runtime, id, rootfs } = guest;
  const options = JSON.stringify({ stateDir, runDir, cgroupPrefix, runtime, id, rootfs });
  const program = path.join(import.meta.dirname, 'guest-agent.ts');
  const child = spawn(process.execPath, [program, options], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until(() => said.includes('begin'), { what: 'the agent began', deadlineMs: 20_000 });
  await systemClock.sleep(delayMs);
  child.kill('SIGKILL');
  await until(() => child.signalCode !== null || child.exitCode !== null, { what: 'the agent died' });
  return said;
}
