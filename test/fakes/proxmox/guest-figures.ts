/** What a guest's rows in lists show, read from its configuration and from what runs. */
import type { Guest, GuestFigures, World } from './world.ts';

const mebibyte = 1024 ** 2;
const gibibyte = 1024 ** 3;
/** What every guest hears and says, on top of what a test gives it. */
const bytesInPerSecond = 42;
const bytesOutPerSecond = 90;

export function guestFigures(guest: Guest, world: World): GuestFigures {
  const { config, usage } = guest;
  const running = guest.status === 'running';
  const startedAtMs = guest.startedAtMs ?? world.clock.nowMs();
  const uptime = running ? Math.floor((world.clock.nowMs() - startedAtMs) / 1000) : 0;
  return {
    name: nameOf(guest),
    status: guest.status,
    listed: running && guest.kind === 'qemu' ? guest.qmpStatus : guest.status,
    uptime,
    cpus: cpusOf(guest, world),
    maxMemoryBytes: Number(config.memory?.split(/\D/)[0] ?? 512) * mebibyte,
    maxSwapBytes: guest.kind === 'lxc' ? Number(config.swap ?? 512) * mebibyte : 0,
    maxDiskBytes: diskOf(guest, world),
    cpu: running ? usage.cpu : 0,
    memoryBytes: running ? usage.memoryBytes : 0,
    diskBytes: running && guest.kind === 'lxc' ? usage.diskBytes : 0,
    netInBytes: running ? usage.netInBytes + uptime * bytesInPerSecond : 0,
    netOutBytes: running ? usage.netOutBytes + uptime * bytesOutPerSecond : 0,
    template: config.template === '1',
    tags: config.tags,
    lock: config.lock,
    pid: running ? guest.pid : undefined,
  };
}

function nameOf({ kind, config, vmid }: Guest): string {
  if (kind === 'lxc') return config.hostname ?? `CT${vmid}`;
  return config.name ?? `VM ${vmid}`;
}

/** A container without a limit has those of its node; a machine has its sockets' cores. */
function cpusOf({ kind, config, node }: Guest, world: World): number {
  const ofNode = world.nodes.get(node)?.cpus ?? 1;
  if (kind === 'lxc') return Number(config.cores ?? config.cpulimit ?? ofNode) || ofNode;
  return Number(config.vcpus ?? Number(config.sockets ?? 1) * Number(config.cores ?? 1));
}

/** Of the root volume, or of the disk that a machine starts from. */
function diskOf(guest: Guest, world: World): number {
  const { kind, config } = guest;
  if (kind === 'lxc') return rootOf(guest, world);
  const first = /^order=([a-z]+\d+)/.exec(config.boot ?? '')?.[1];
  const drives = Object.keys(config)
    .filter((key) => /^(scsi|virtio|sata|ide)\d+$/.test(key))
    .sort();
  return sizeIn(config[first ?? drives[0] ?? ''] ?? '');
}

/**
 * Stopped: what the configuration says, or 4 GiB where it says nothing. Running: what the file system inside has,
 * which is less than its volume, or all that a volume without a quota lies on.
 */
function rootOf({ config, status }: Guest, world: World): number {
  const rootfs = config.rootfs ?? '';
  const bytes = sizeIn(rootfs);
  if (status === 'stopped') return bytes || 4 * gibibyte;
  if (bytes > 0) return bytes - 35_932_160 - Math.round((bytes / gibibyte) * 17_106_944);
  return world.storages.definitions.get(rootfs.slice(0, rootfs.indexOf(':')))?.totalBytes ?? 4 * gibibyte;
}

const units: Readonly<Record<string, number>> = {
  K: 1024,
  M: mebibyte,
  G: 1024 * mebibyte,
  T: mebibyte ** 2,
};

export function sizeIn(property: string): number {
  const match = /(?:^|,)size=(\d+(?:\.\d+)?)([KMGT]?)/.exec(property);
  return match === null ? 0 : Number(match[1]) * (units[match[2] ?? ''] ?? 1);
}
