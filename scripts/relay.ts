/**
 * Holds a simulated host open: listens on its loopback and passes each connection to a unix socket outside.
 * Usage: relay.ts FOLDER PORT… Ends when standard input does.
 */
import net from 'node:net';
import path from 'node:path';

const [folder = '', ...ports] = process.argv.slice(2);

const servers = ports.map((port) => {
  const server = net.createServer((inner) => {
    const outer = net.connect(path.join(folder, port));
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      one.on('error', () => {});
      // What is still on its way to the other side gets there, unless this one broke.
      one.on('close', (hadError) => (hadError ? other.destroy() : other.end()));
      one.pipe(other);
    }
  });
  return new Promise<void>((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
});
await Promise.all(servers);
process.stdout.write('ready\n');
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
