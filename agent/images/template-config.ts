import { lstat, open, readlink } from 'node:fs/promises';
import path from 'node:path';
import type { ImageConfig } from './image-source.ts';

const maxLinks = 40;
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const terminateSignal = 15;
/** "Power fail", which System V's init and its heirs take for a polite end; LXC's own default. */
const powerFailSignal = 30;
/** By the name of the program that /sbin/init is in the end. */
const endSignals: Readonly<Record<string, number>> = {
  // systemd(1), "SIGRTMIN+3": halts.
  systemd: 37,
  // busybox's init powers off on SIGUSR2 in every version, on SIGPWR only in later ones.
  busybox: 12,
};

/**
 * What a tarball says of itself, which is nothing: its init, else its shell, with the signal that ends it.
 * The root is unpacked and nobody else's yet.
 */
export async function templateConfig(rootfs: string): Promise<ImageConfig> {
  const base = { env: { PATH: searchPath, container: 'lxc' }, user: '', workingDir: '/' };
  const init = await resolveInRoot(rootfs, '/sbin/init');
  if (init !== undefined) {
    const stopSignal = endSignals[path.basename(init)] ?? powerFailSignal;
    return { ...base, entrypoint: ['/sbin/init'], command: [], stopSignal };
  }
  const shell = await resolveInRoot(rootfs, '/bin/sh');
  const command = shell === undefined ? [] : ['/bin/sh'];
  return { ...base, entrypoint: [], command, stopSignal: terminateSignal };
}

const programs = ['/sbin/init', '/bin/sh', '/usr/bin/env'];
/** ELF's e_machine to the words of OCI; System V ABI, and the supplements of the processors. */
const machines: Readonly<Record<number, string>> = {
  3: '386',
  22: 's390x',
  40: 'arm',
  62: 'amd64',
  183: 'arm64',
  243: 'riscv64',
};

/** What its programs are made for; undefined where it has none, or none that tells. */
export async function rootArchitecture(rootfs: string): Promise<string | undefined> {
  for (const program of programs) {
    const found = await resolveInRoot(rootfs, program);
    if (found === undefined) continue;
    const machine = await readMachine(path.join(rootfs, found));
    if (machine !== undefined) return machine;
  }
  return undefined;
}

async function readMachine(file: string): Promise<string | undefined> {
  await using handle = await open(file, 'r');
  const header = Buffer.alloc(64);
  await handle.read(header, 0, header.length, 0);
  if (header.toString('latin1', 0, 4) !== '\u007fELF') return undefined;
  const isBigEndian = header[5] === 2;
  return machines[isBigEndian ? header.readUInt16BE(18) : header.readUInt16LE(18)];
}

/** The file that a path leads to inside of the root, links taken as the guest takes them. */
export async function resolveInRoot(rootfs: string, wanted: string): Promise<string | undefined> {
  const pending = wanted.split('/').filter((part) => part !== '');
  let found = '/';
  for (let links = 0; pending.length > 0; ) {
    const part = pending.shift() ?? '';
    if (part === '.' || part === '..') {
      found = part === '.' ? found : path.dirname(found);
      continue;
    }
    const next = path.join(found, part);
    const status = await lstat(path.join(rootfs, next)).catch(ignoreMissing);
    if (status === undefined) return undefined;
    if (!status.isSymbolicLink()) {
      if (pending.length === 0) return status.isFile() ? next : undefined;
      found = next;
      continue;
    }
    if (++links > maxLinks) return undefined;
    const target = await readlink(path.join(rootfs, next));
    if (target.startsWith('/')) found = '/';
    pending.unshift(...target.split('/').filter((each) => each !== ''));
  }
  return undefined;
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(error.code ?? '')) return undefined;
  throw error;
}
