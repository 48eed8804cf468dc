import { readdir, readFile, readlink, rmdir } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from '../host/command.ts';
import { mountsAt, parseMountDetails } from './mounts.ts';
import { zfsError } from './zfs-error.ts';
import type { ZfsTool } from './zfs-tool.ts';

export interface ZfsMounts {
  isMounted(place: string): Promise<boolean>;
  /** Mounted at the place, alive, without devices; without setuid programs where `nosuid`. */
  mount(dataset: string, place: string, nosuid: boolean, signal: AbortSignal): Promise<void>;
  /** Succeeds when nothing is there. unavailable while it is in use. */
  unmount(place: string, signal: AbortSignal): Promise<void>;
  /** Takes away the directory that was mounted on. */
  forget(place: string): Promise<void>;
}

const mountMs = 30_000;
const answerMs = 5000;
/** A command of an agent that was killed may still have it, for the moment that it takes. */
const busyTries = 20;
const busyWaitMs = 100;

export function createZfsMounts(run: HostCommands['run'], tool: ZfsTool, clock: Clock): ZfsMounts {
  const isMounted = async (place: string): Promise<boolean> => (await mountsAt(place)).length > 0;

  /**
   * False for a mount whose daemon has died. By a tool that can be killed: a file system whose daemon stands
   * still would hold our own threads for ever.
   */
  async function answers(place: string, signal: AbortSignal): Promise<boolean> {
    // The file system's own numbers: a file's may still be in a cache.
    const args = ['-f', '-c', '%T', '--', place];
    const { exitCode, stderr } = await run('stat', args, { signal, timeoutMs: answerMs });
    if (exitCode === 0) return true;
    if (/not connected|Input\/output error|No such device/.test(stderr)) return false;
    throw new DroverError('unavailable', `${place}: ${stderr.trim().slice(0, 300)}`);
  }

  async function detach(place: string, signal: AbortSignal): Promise<void> {
    for (let left = (await mountsAt(place)).length; left > 0; left -= 1)
      await run('umount', ['-l', '--', place], { signal, timeoutMs: mountMs });
  }

  async function restrict(place: string, nosuid: boolean, signal: AbortSignal): Promise<void> {
    const wanted = nosuid ? ['nodev', 'nosuid'] : ['nodev'];
    const found = (await mountsAt(place)).at(-1)?.options.split(',') ?? [];
    if (wanted.every((each) => found.includes(each))) return;
    const args = ['-o', `remount,bind,${wanted.join(',')}`, '--', place];
    const result = await run('mount', args, { signal, timeoutMs: mountMs });
    if (result.exitCode === 0) return;
    throw new DroverError('unavailable', `mount: ${result.stderr.trim().slice(0, 300)}`);
  }

  return {
    isMounted,
    async mount(dataset, place, nosuid, signal) {
      const [found] = await mountsAt(place);
      if (found !== undefined && (found.source !== dataset || !(await answers(place, signal))))
        await detach(place, signal);
      for (let tries = 1; !(await isMounted(place)); tries += 1) {
        const result = await tool.run(['mount', dataset], signal, mountMs);
        // The tool's exit code is a hint; the mount table is the truth.
        if (await isMounted(place)) break;
        if (!/busy/.test(result.stderr) || tries >= busyTries) throw zfsError(result, { dataset });
        await clock.sleep(busyWaitMs, signal);
      }
      await restrict(place, nosuid, signal);
    },
    async unmount(place, signal) {
      for (let tries = 1; await isMounted(place); tries += 1) {
        const result = await run('umount', ['--', place], { signal, timeoutMs: mountMs });
        if (result.exitCode === 0) continue;
        if (!/busy/.test(result.stderr) || tries >= busyTries)
          throw new DroverError('unavailable', `umount: ${result.stderr.trim().slice(0, 300)}`);
        await clock.sleep(busyWaitMs, signal);
      }
    },
    async forget(place) {
      await rmdir(place).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw new DroverError('unavailable', `${place}: ${error.message}`);
      });
    },
  };
}

/** Processes of other mount namespaces that see a mount of the dataset: "4711 (sleep)". */
export async function findHolders(dataset: string, procDir = '/proc'): Promise<string[]> {
  const own = await readlink(path.join(procDir, 'self/ns/mnt'));
  const pids = (await readdir(procDir)).filter((name) => /^\d+$/.test(name));
  const seen = new Map<string, string[]>();
  for (const pid of pids) {
    const at = (name: string): string => path.join(procDir, pid, name);
    const namespace = await readlink(at('ns/mnt')).catch(() => own);
    if (namespace === own) continue;
    const table = await readFile(at('mountinfo'), 'utf8').catch(() => '');
    if (!parseMountDetails(table).some(({ source, type }) => source === dataset && type.endsWith('zfs')))
      continue;
    const name = (await readFile(at('comm'), 'utf8').catch(() => '')).trim();
    seen.set(namespace, [...(seen.get(namespace) ?? []), `${pid} (${name})`]);
  }
  return [...seen.values()].flatMap((all) => all.slice(0, 3)).slice(0, 10);
}
