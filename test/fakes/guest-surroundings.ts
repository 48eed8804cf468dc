import { chown, readFile, writeFile } from 'node:fs/promises';
import { defaultCapabilities } from '../../agent/drivers/capabilities.ts';
import type { GuestMount, GuestSpec } from '../../agent/drivers/driver.ts';
import { resolveInRoot } from '../../agent/drivers/guest-mounts.ts';
import { capabilityMask, grantedCapabilities } from '../../agent/drivers/guest-rights.ts';
import type { GuestSurroundings } from './guest-program.ts';

/** What the programs of a fake guest see of it: its volumes are real directories, all else is made up. */
export function guestSurroundings(
  { spec, range, rootfs, resolvConf }: GuestSpec,
  mounts: readonly GuestMount[],
  hold: (bytes: number) => void,
): GuestSurroundings {
  const placeOf = async (name: string) => {
    const file = await resolveInRoot(rootfs, name, mounts);
    const mount = mounts.findLast(({ target }) => file.startsWith(`${target}/`));
    return mount && { ...mount, file: `${mount.source}${file.slice(mount.target.length)}` };
  };
  const mask = capabilityMask(grantedCapabilities(defaultCapabilities, spec.security));
  const mountinfo = mounts.map(
    ({ target, readOnly }) => `1 0 0:1 / ${target} ${readOnly ? 'ro' : 'rw'},nosuid,nodev - fake fake rw\n`,
  );
  const files: Readonly<Record<string, string | undefined>> = {
    '/etc/resolv.conf': resolvConf ?? '',
    '/proc/self/mountinfo': mountinfo.join(''),
    '/proc/self/status': `Name:\tgrep\nCapBnd:\t${mask}\n`,
    '/proc/self/uid_map': `         0 ${range.base} ${range.size}\n`,
  };
  return {
    hold,
    hasDevice: (file) => spec.devices.includes(file),
    async read(file) {
      const place = await placeOf(file);
      if (place === undefined) return files[file];
      return readFile(place.file, 'utf8').catch(() => undefined);
    },
    async write(file, text) {
      const place = await placeOf(file);
      if (place === undefined || place.readOnly) return false;
      await writeFile(place.file, text);
      await chown(place.file, range.base, range.base);
      return true;
    },
  };
}
