/**
 * What an instance's life costs without an agent: the tools that the agent spawns, with the same arguments
 * and the same config.json, and nothing else. No gRPC, no records, no gates. Started by instance.ts.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A guest of the agent, to make more of the same. */
export interface BaselineOptions {
  readonly directory: string;
  readonly cgroupPrefix: string;
  /** Root of the image. */
  readonly lower: string;
  readonly owner: number;
  /** With ID, STATE, RUN and GROUPS in the places of what differs. */
  readonly config: string;
  readonly conmon: readonly string[];
}

export interface BaselineAnswer {
  readonly wallMs: number;
  readonly spawns: Readonly<Record<string, number>>;
}

const options = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as BaselineOptions;
const state = path.join(options.directory, 'state');
const run = path.join(options.directory, 'run');
const env = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  HOME: '/root',
};
const strictly = { env, cwd: '/', detached: true } as const;
const crunArgs = ['--root', path.join(run, 'crun'), '--log-format=json', '--cgroup-manager=cgroupfs'];
const spawns: Record<string, number> = {};
let lives = 0;

const fill = (text: string, id: string): string =>
  text
    .replaceAll('{ID}', id)
    .replaceAll('{STATE}', state)
    .replaceAll('{RUN}', run)
    .replaceAll('{GROUPS}', options.cgroupPrefix);

const count = (tool: string): void => void (spawns[tool] = (spawns[tool] ?? 0) + 1);

async function runTool(tool: string, args: readonly string[]): Promise<void> {
  count(tool);
  const child = spawn(tool, args, { ...strictly, stdio: ['ignore', 'pipe', 'pipe'] });
  const words: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => words.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${tool} ${args.join(' ')}: ${Buffer.concat(words).toString()}`);
}

async function createUnderMonitor(id: string): Promise<number> {
  count('conmon');
  const child = spawn(
    'conmon',
    options.conmon.map((each) => fill(each, id)),
    {
      ...strictly,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      env: { ...env, _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4' },
    },
  );
  const [, , , answers, go] = child.stdio;
  (go as NodeJS.WritableStream).write('go\n');
  const [line] = (await once(answers as NodeJS.ReadableStream, 'data')) as [Buffer];
  for (const stream of child.stdio) (stream as { destroy(): void } | null)?.destroy();
  const { data, message } = JSON.parse(line.toString()) as { data: number; message?: string };
  if (data <= 0) throw new Error(`conmon: ${message}`);
  return data;
}

/** crun gives it to the guest's user. */
async function restoreNullDevice(): Promise<void> {
  const { uid, gid, mode } = await stat('/dev/null');
  if (uid !== 0 || gid !== 0) await chown('/dev/null', 0, 0);
  if ((mode & 0o777) !== 0o666) await chmod('/dev/null', 0o666);
}

async function monitorEnded(pidFile: string): Promise<void> {
  const pid = (await readFile(pidFile, 'utf8')).trim();
  while ((await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')) !== '') await sleep(1);
}

async function live(): Promise<void> {
  lives += 1;
  const id = `bare-${lives}`;
  const volume = path.join(state, 'volumes', id);
  const bundle = path.join(state, 'guests', id);
  const logs = path.join(state, 'guest-logs', id);
  const root = path.join(volume, 'root');
  for (const name of ['upper', 'work', 'root']) await mkdir(path.join(volume, name), { recursive: true });
  await chown(path.join(volume, 'upper'), options.owner, options.owner);
  const layers = `lowerdir=${options.lower},upperdir=${volume}/upper,workdir=${volume}/work`;
  await runTool('mount', ['-t', 'overlay', '-o', `nodev,${layers}`, 'overlay', root]);
  await mkdir(path.join(bundle, 'persist'), { recursive: true });
  await mkdir(logs, { recursive: true });
  await writeFile(path.join(bundle, 'config.json'), fill(options.config, id));
  const pid = await createUnderMonitor(id);
  await restoreNullDevice();
  await runTool('crun', [...crunArgs, 'start', id]);

  process.kill(pid, 'SIGKILL');
  await monitorEnded(path.join(bundle, 'conmon.pid'));
  await runTool('crun', [...crunArgs, 'delete', '--force', id]);
  await runTool('umount', ['--', root]);
  for (const each of [bundle, logs, volume, path.join(run, 'exits', id)]) {
    await rm(each, { recursive: true, force: true });
  }
}

async function measure(parallel: number): Promise<BaselineAnswer> {
  const startMs = performance.now();
  await Promise.all(Array.from({ length: parallel }, live));
  return { wallMs: performance.now() - startMs, spawns };
}

for (const each of ['crun', 'exits']) await mkdir(path.join(run, each), { recursive: true });
process.on('message', (parallel: number) => {
  measure(parallel).then(
    (answer) => process.send?.(answer),
    (error: Error) => process.send?.({ failure: error.stack ?? error.message }),
  );
});
