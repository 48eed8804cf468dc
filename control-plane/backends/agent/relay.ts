import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';

export interface Relay {
  /** What a gRPC client dials to reach the accepted socket. */
  readonly target: string;
  /** Resolves when the socket is closed, whoever closed it. */
  readonly closed: Promise<void>;
  close(): void;
}

/**
 * A gRPC client can dial but not take a connection that somebody else made: so it dials a unix socket, and
 * what goes in there comes out of the accepted socket. For one client, once; a second connection finds
 * nothing.
 */
export async function openRelay(socket: Duplex, folder: string): Promise<Relay> {
  const closed = Promise.withResolvers<void>();
  const server = net.createServer((inner) => {
    server.close();
    join(socket, inner);
  });
  socket.once('close', () => {
    server.close();
    void own.then((made) => rm(made, { recursive: true, force: true })).finally(closed.resolve);
  });
  // Whatever went wrong with it, 'close' follows.
  socket.on('error', () => {});
  const own = mkdtemp(path.join(folder, 's-'));
  const file = path.join(await own, 's');
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(file, resolve);
  });
  // It may have been closed while there was nothing to close yet.
  if (socket.destroyed) server.close();
  return { target: `unix:${file}`, closed: closed.promise, close: () => void socket.destroy() };
}

function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.once('close', () => to.destroy());
  }
}
