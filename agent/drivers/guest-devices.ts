import { chown, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from '../host/command.ts';
import type { IdRange } from '../images/image-source.ts';

/** One device file of the host, as the kernel knows it. */
export interface HostDevice {
  /** "/dev/fuse", inside as on the host. */
  readonly path: string;
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  /** Permission bits of the host's file. */
  readonly mode: number;
}

/** The names are on the node's list of allowed ones. failed-precondition: the host has no such device. */
export async function findDevices(names: readonly string[]): Promise<HostDevice[]> {
  const devices: HostDevice[] = [];
  for (const name of names) {
    const status = await stat(name).catch(() => undefined);
    const isCharacter = status?.isCharacterDevice() === true;
    if (status === undefined || (!isCharacter && !status.isBlockDevice())) {
      throw new DroverError('failed-precondition', `this node has no device ${name}`, {
        subject: { field: 'devices' },
      });
    }
    // As the C library's gnu_dev_major and gnu_dev_minor have it.
    const rdev = BigInt(status.rdev);
    const major = Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn));
    const minor = Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn));
    devices.push({ path: name, type: isCharacter ? 'c' : 'b', major, minor, mode: status.mode & 0o666 });
  }
  return devices;
}

const mknodTimeoutMs = 5000;

/**
 * Makes a file of its own for each device, which root inside may open whatever the host's file says: in a
 * user namespace nobody can make one, and the host's belongs to nobody there. Returns the files in order.
 */
export async function makeDeviceFiles(
  commands: HostCommands,
  directory: string,
  devices: readonly HostDevice[],
  range: IdRange,
  signal: AbortSignal,
): Promise<string[]> {
  const files: string[] = [];
  if (devices.length > 0) await mkdir(directory, { recursive: true, mode: 0o755 });
  for (const [place, { type, major, minor, mode }] of devices.entries()) {
    const file = path.join(directory, `${place}`);
    const args = [`--mode=${(mode | 0o600).toString(8)}`, file, type, `${major}`, `${minor}`];
    const { exitCode, stderr } = await commands.run('mknod', args, { signal, timeoutMs: mknodTimeoutMs });
    if (exitCode !== 0) throw new DroverError('internal', `mknod: ${stderr.trim() || `exit ${exitCode}`}`);
    await chown(file, range.base, range.base);
    files.push(file);
  }
  return files;
}
