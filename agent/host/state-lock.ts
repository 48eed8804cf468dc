import { link, open, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { DroverError } from '#shared/errors.ts';

const name = 'agent.lock';

/**
 * Takes a directory for one process: a unix socket that its owner listens on, so that the kernel ends the
 * lock with the process, however that ends. failed-precondition: another one holds it.
 */
export async function lockDirectory(directory: string, unique: string): Promise<() => Promise<void>> {
  const handle = await open(directory, 'r');
  // Through the descriptor: a socket's address has room for 107 bytes only.
  const inside = (file: string): string => `/proc/self/fd/${handle.fd}/${file}`;
  const own = `${name}.${unique}`;
  const server = await listen(inside(own));
  const release = async (): Promise<void> => {
    await new Promise((resolve) => server.close(resolve));
    await rm(inside(own), { force: true });
    await handle.close();
  };
  try {
    await take(inside, own, directory);
    // One name is enough, and nothing is left of it after a kill.
    await rm(inside(own), { force: true });
  } catch (error) {
    await release();
    throw error;
  }
  return async () => {
    await rm(inside(name), { force: true });
    await release();
  };
}

async function take(inside: (file: string) => string, own: string, directory: string): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    if (await linked(inside(own), inside(name))) return;
    if (await answers(inside(name))) break;
    // Nobody answers: what its owner left. Moved, not removed, so that a lock taken meanwhile can be given
    // back.
    const stale = inside(`${own}.stale`);
    await rename(inside(name), stale).catch(() => undefined);
    const taken = await answers(stale);
    if (taken) await linked(stale, inside(name));
    await rm(stale, { force: true });
    if (taken) break;
  }
  throw new DroverError('failed-precondition', `another agent runs on ${directory}`, {
    nextStep: 'end it first, or give this one a state directory of its own',
  });
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function listen(address: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once('error', reject);
    server.listen(address, () => resolve(server));
  });
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
