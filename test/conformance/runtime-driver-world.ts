import type { DriverContext, ExecSession, GuestSpec, RuntimeDriver } from '../../agent/drivers/driver.ts';
import type { ExitStatus, InstanceId, InstanceSpec } from '#shared/model.ts';
import type { ExecStart, LogLine, LogOptions } from '#shared/streams.ts';
import { until } from '../until.ts';

/** A host with one driver on it. Disposing removes all guests and fails when anything of them is left. */
export interface DriverWorld extends AsyncDisposable {
  readonly driver: RuntimeDriver;
  /**
   * What a restarted agent has: another object on the same directories. The one before is never used again.
   */
  reopen(): RuntimeDriver;
  /** A guest that was never made, with a root of its own and a shell in it. */
  newGuest(
    command: readonly string[],
    changes?: Partial<InstanceSpec>,
    parts?: Partial<Pick<GuestSpec, 'mounts' | 'resolvConf' | 'range'>>,
  ): Promise<GuestSpec>;
  /** Kills what watches over the guest; the guest goes on where the driver announces "outlives-monitor". */
  loseMonitor(id: InstanceId): Promise<void>;
}

/** What the node allows; nothing where it is left out. */
export type NodePolicy = Partial<Pick<DriverContext, 'allowedDevices' | 'allowsPrivileged'>>;

export type SetUpDriver = (policy?: NodePolicy) => Promise<DriverWorld>;

/** The only way in which drivers may differ: by what they announce. */
export const can = async ({ driver }: DriverWorld, capability: string): Promise<boolean> =>
  (await driver.fingerprint(anySignal)).capabilities.includes(capability);

export const shell = (script: string): string[] => ['/bin/sh', '-c', script];
export const forEver = shell('sleep 100000');
export const anySignal = new AbortController().signal;
export const everything: LogOptions = { tail: undefined, sinceMs: 0, follow: false, stream: undefined };
export const decode = (data: Uint8Array): string => new TextDecoder().decode(data);
export const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export const execStart = (command: readonly string[], changes: Partial<ExecStart> = {}): ExecStart => ({
  instance: '',
  command,
  stdin: false,
  tty: false,
  size: { columns: 80, rows: 24 },
  env: {},
  user: '',
  workingDir: '',
  project: 'default',
  ...changes,
});

export async function readSession(session: ExecSession, heard: string[] = []) {
  let [stdout, stderr] = ['', ''];
  let exit: ExitStatus | undefined;
  for await (const output of session.output) {
    if (output.kind === 'stdout') {
      heard.push(decode(output.data));
      stdout += decode(output.data);
    }
    if (output.kind === 'stderr') stderr += decode(output.data);
    if (output.kind === 'exit') exit = output.exit;
  }
  return { stdout, stderr, exit };
}

export async function textsOf(lines: AsyncIterable<LogLine>): Promise<string[]> {
  const texts: string[] = [];
  for await (const line of lines) texts.push(`${line.stream}:${decode(line.content)}`);
  return texts;
}

export async function running(
  world: DriverWorld,
  command: readonly string[],
  changes: Partial<InstanceSpec> = {},
) {
  const guest = await world.newGuest(command, changes);
  await world.driver.create(guest, anySignal);
  await world.driver.start(guest.id, anySignal);
  return guest.id;
}

export const ended = (driver: RuntimeDriver, id: InstanceId): Promise<ExitStatus> =>
  until(
    async () => {
      const { phase, exit } = await driver.inspect(id, anySignal);
      return phase === 'stopped' ? exit : undefined;
    },
    { what: `${id} stopped` },
  );

export const untilLogged = (driver: RuntimeDriver, id: InstanceId, text: string): Promise<boolean> =>
  until(
    async () => (await textsOf(driver.logs(id, everything, anySignal))).some((line) => line.endsWith(text)),
    {
      what: `${id} says ${text}`,
    },
  );

/** Runs a line of shell inside. */
export async function inside(driver: RuntimeDriver, id: InstanceId, script: string) {
  return readSession(await driver.exec(id, execStart(shell(script)), anySignal));
}
