/** The storages that the recorded clusters had. */
import { placeFile } from './storage-paths.ts';
import type { World } from './world.ts';

const gibibyte = 1024 ** 3;
const all = ['images', 'rootdir', 'vztmpl', 'iso', 'backup', 'snippets', 'import'];

export const recordedTemplate = 'alpine-3.20-tiny_20240908_amd64.tar.gz';

/** "local" and "btr" on every node, "shared" where there are several; a template on the directories. */
export function standardStorages(world: World): void {
  const { storages, nodes } = world;
  const fields = { 'prune-backups': 'keep-all=1' };
  storages.add({ id: 'local', type: 'dir', content: all, path: '/var/lib/vz', fields });
  storages.add({
    id: 'btr',
    type: 'btrfs',
    content: ['images', 'rootdir'],
    path: '/mnt/btr',
    totalBytes: 6 * gibibyte,
    otherBytes: 6_062_080,
  });
  const template = { content: 'vztmpl', name: recordedTemplate, sizeBytes: 1_037_424 };
  for (const node of nodes.keys()) placeFile(world, node, 'local', template);
  if (nodes.size === 1) return;
  storages.add({ id: 'shared', type: 'dir', content: all, path: '/mnt/shared', shared: true });
  placeFile(world, [...nodes.keys()][0] ?? '', 'shared', template);
}
