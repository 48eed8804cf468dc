/** A registry on loopback: the real one, with a directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const program = '/usr/bin/docker-registry';

export interface Registry extends AsyncDisposable {
  /** "127.0.0.1:34567". */
  readonly address: string;
  /** "http://127.0.0.1:34567". */
  readonly url: string;
  readonly pid: number;
  /** Where it keeps what was pushed. */
  readonly dataDirectory: string;
  stop(): Promise<void>;
}

export interface RegistryOptions {
  /** Lines of an htpasswd file; everybody may do everything where left out. */
  readonly htpasswd?: string;
  /** Kept by the caller; one of its own, removed at the end, where left out. */
  readonly dataDirectory?: string;
}

export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-registry-'));
  const dataDirectory = options.dataDirectory ?? path.join(directory, 'data');
  const config = path.join(directory, 'config.json');
  const htpasswd = path.join(directory, 'htpasswd');
  if (options.htpasswd !== undefined) await writeFile(htpasswd, options.htpasswd);
  // JSON is YAML, too.
  const settings = {
    version: 0.1,
    log: { accesslog: { disabled: true }, level: 'info', formatter: 'text' },
    storage: { filesystem: { rootdirectory: dataDirectory }, delete: { enabled: true } },
    http: { addr: '127.0.0.1:0' },
    ...(options.htpasswd !== undefined && { auth: { htpasswd: { realm: 'drover', path: htpasswd } } }),
  };
  await writeFile(config, JSON.stringify(settings));
  const child = spawn(program, ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  async function stop(): Promise<void> {
    await end(child);
    await rm(directory, { recursive: true, force: true });
  }
  try {
    const address = await listening(child);
    const url = `http://${address}`;
    return { address, url, pid: child.pid ?? 0, dataDirectory, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Resolves with the address once the registry says that it listens. */
function listening(child: ChildProcess): Promise<string> {
  const said: string[] = [];
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => {
      reject(new Error(`no registry; install it: apt-get install docker-registry`, { cause }));
    });
    child.once('exit', (code) => reject(new Error(`the registry ended with ${code}: ${said.join('\n')}`)));
    if (child.stderr === null) return;
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line);
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
