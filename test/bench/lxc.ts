/**
 * The life of a system container (create, running, stopped, removed) through the agent's gRPC interface, with
 * LXC and real volumes, as a share of what the same host tools take when a bare program spawns them: on roots by
 * overlay, and on clones of zfs-fuse where that is installed. Image on the node already.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { hasZfsFuse } from '../../scripts/zfs-daemon.ts';
import { passableDirectory } from '../passable-directory.ts';
import { openZfsHost, type ZfsHost } from '../zfs-host.ts';
import type { Figure } from './parts/figure.ts';
import { openProcess } from './parts/instance-child.ts';
import { type HostOptions, openHost } from './parts/instance-host.ts';
import { type LxcSample, readLxcSample, type SampleGuest } from './parts/instance-sample.ts';
import { type Bare, ratioFigures, takeTurns, type Turns } from './parts/instance-turns.ts';

const parallel = 32;
const serialGoal = 2;
const parallelGoal = 1.5;

interface Kind {
  readonly title: string;
  readonly host: Pick<HostOptions, 'config' | 'enter'>;
  /** What is made below it goes with it. */
  readonly folder: string;
  readonly serialLives: number;
  readonly rounds: number;
  readSample(guest: SampleGuest, directory: string): Promise<LxcSample>;
}

async function measure({ host: given, folder, readSample, ...options }: Kind): Promise<Turns> {
  await using host = await openHost(folder, { ...given, spec: { runtime: 'lxc' }, stops: true });
  const file = path.join(folder, 'baseline.json');
  const sample = await host.sample((guest) => readSample(guest, path.join(folder, 'bare')));
  await writeFile(file, JSON.stringify(sample));
  const bare: Bare = openProcess('./lxc-baseline.ts', file, given.enter);
  try {
    return await takeTurns(host, bare, { ...options, parallel, looks: false });
  } finally {
    await bare.end();
  }
}

const onOverlay = (folder: string): Kind => ({
  title: '',
  host: {},
  folder,
  serialLives: 20,
  rounds: 5,
  readSample: (guest, directory) => readLxcSample(guest, directory),
});

/**
 * Everything but the control plane's side lives where the daemon does, and all mounts where unmounting reaches
 * the copies that LXC's monitors have.
 */
function onZfs(zfs: ZfsHost): Kind {
  const dataset = `${zfs.pool}/drover`;
  return {
    title: 'zfs, ',
    folder: zfs.directory,
    host: {
      config: { pools: [{ name: 'fast', driver: 'zfs', dataset }] },
      enter: ['nsenter', `--mount=/proc/${zfs.pid()}/ns/mnt`, '--'],
    },
    serialLives: 10,
    rounds: 1,
    async readSample(guest, directory) {
      const root = `${dataset}/roots/${guest.id}`;
      const snapshot = (await zfs.zfs('get', '-H', '-o', 'value', 'origin', root)).trim();
      return readLxcSample(guest, directory, { snapshot, parent: zfs.pool });
    },
  };
}

async function zfsFigures(): Promise<readonly Figure[]> {
  if (!hasZfsFuse()) return [];
  await using zfs = await openZfsHost({ sizeMib: 1024 });
  const { serial, crowd } = await measure(onZfs(zfs));
  return [...ratioFigures('zfs-serial-p50', serial), ...ratioFigures(`zfs-parallel${parallel}`, crowd)];
}

export async function run(): Promise<readonly Figure[]> {
  await using folder = await passableDirectory('bench');
  const { serial, crowd } = await measure(onOverlay(folder.path));
  return [
    ...ratioFigures('serial-p50', serial, serialGoal),
    ...ratioFigures(`parallel${parallel}`, crowd, parallelGoal),
    ...(await zfsFigures()),
  ];
}
