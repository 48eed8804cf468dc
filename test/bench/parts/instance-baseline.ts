/**
 * What an instance's life costs without an agent: the tools that the agent spawns, with the same arguments
 * and the same config.json, and nothing else. No gRPC, no records, no gates. Started by instance.ts.
 */
import { once } from 'node:events';
import { chmod, chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBareTools, readSampleFile, serveLives } from './bare-tools.ts';
import type { CrunSample } from './instance-sample.ts';

const options = readSampleFile<CrunSample>();
const state = path.join(options.directory, 'state');
const run = path.join(options.directory, 'run');
const crunArgs = ['--root', path.join(run, 'crun'), '--log-format=json', '--cgroup-manager=cgroupfs'];
const tools = openBareTools();

const fill = (text: string, id: string): string =>
  text
    .replaceAll('{ID}', id)
    .replaceAll('{STATE}', state)
    .replaceAll('{RUN}', run)
    .replaceAll('{GROUPS}', options.cgroupPrefix);

async function createUnderMonitor(id: string): Promise<number> {
  const args = options.conmon.map((each) => fill(each, id));
  const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] as const;
  const child = tools.begin('conmon', args, [...stdio], { _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4' });
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

async function live(place: number): Promise<void> {
  const id = `bare-${place}`;
  const volume = path.join(state, 'volumes', id);
  const bundle = path.join(state, 'guests', id);
  const logs = path.join(state, 'guest-logs', id);
  const root = path.join(volume, 'root');
  for (const name of ['upper', 'work', 'root']) await mkdir(path.join(volume, name), { recursive: true });
  await chown(path.join(volume, 'upper'), options.owner, options.owner);
  const layers = `lowerdir=${options.lower},upperdir=${volume}/upper,workdir=${volume}/work`;
  await tools.run('mount', ['-t', 'overlay', '-o', `nodev,${layers}`, 'overlay', root]);
  await mkdir(path.join(bundle, 'persist'), { recursive: true });
  await mkdir(logs, { recursive: true });
  await writeFile(path.join(bundle, 'config.json'), fill(options.config, id));
  const pid = await createUnderMonitor(id);
  await restoreNullDevice();
  await tools.run('crun', [...crunArgs, 'start', id]);

  process.kill(pid, 'SIGKILL');
  await monitorEnded(path.join(bundle, 'conmon.pid'));
  await tools.run('crun', [...crunArgs, 'delete', '--force', id]);
  await tools.run('umount', ['--', root]);
  for (const each of [bundle, logs, volume, path.join(run, 'exits', id)]) {
    await rm(each, { recursive: true, force: true });
  }
}

for (const each of ['crun', 'exits']) await mkdir(path.join(run, each), { recursive: true });
serveLives(tools, live);
