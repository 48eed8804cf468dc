/** A root file system with an init, for the system containers of the examples: the host's own busybox. */
import { writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { busyboxLayer } from '../test/image-builder.ts';
import { type TarEntry, writeTar } from '../test/tar.ts';

const inittab = `::sysinit:/etc/begin
::respawn:/bin/httpd -f -p 80 -h /var/www
::shutdown:/bin/sync
`;
const begin = `#!/bin/sh
echo "system of $(hostname) has begun"
`;
const applets = ['ping', 'ip', 'top', 'poweroff', 'crond', 'syslogd'];

/** Serves /var/www on port 80. */
export async function writeSystemRoot(file: string): Promise<void> {
  const entries: TarEntry[] = [
    ...(await busyboxLayer()),
    { name: 'sbin/', type: 'directory' },
    { name: 'sbin/init', type: 'symlink', target: '../bin/busybox', mode: 0o777 },
    ...applets.map(
      (name): TarEntry => ({
        name: `bin/${name}`,
        type: 'symlink',
        target: 'busybox',
        mode: 0o777,
      }),
    ),
    { name: 'etc/inittab', content: inittab },
    { name: 'etc/begin', mode: 0o755, content: begin },
    { name: 'var/www/', type: 'directory' },
    { name: 'var/www/index.html', content: 'a system container answers\n' },
  ];
  await writeFile(file, gzipSync(writeTar(entries)));
}
