import { readdir, writeFile } from 'node:fs/promises';
import { DroverError } from '#shared/errors.ts';
import { readVanishing } from './vanishing-file.ts';

const switches = { 4: '/proc/sys/net/ipv4/ip_forward', 6: '/proc/sys/net/ipv6/conf/all/forwarding' } as const;
const perInterface = '/proc/sys/net/ipv6/conf';

/** Lets this host pass packets on. It stays so: others may count on it by the time our last guest goes. */
export async function ensureForwarding(families: readonly (4 | 6)[]): Promise<void> {
  for (const family of families) {
    const found = (await readVanishing(switches[family]))?.trim();
    // Without the file the host does not speak that family at all.
    if (found === undefined || found !== '0') continue;
    if (family === 6) await keepAdvertisedRoutes();
    await set(switches[family], '1');
  }
}

/** A host that forwards ignores router advertisements, and would lose its own way out, unless it says 2. */
async function keepAdvertisedRoutes(): Promise<void> {
  for (const name of await readdir(perInterface)) {
    const file = `${perInterface}/${name}/accept_ra`;
    if ((await readVanishing(file))?.trim() === '1') await set(file, '2');
  }
}

async function set(file: string, value: string): Promise<void> {
  try {
    await writeFile(file, value);
  } catch (error) {
    throw new DroverError('failed-precondition', `this host does not let its agent set ${file} to ${value}`, {
      cause: error,
      nextStep: `echo ${value} > ${file}`,
    });
  }
}
