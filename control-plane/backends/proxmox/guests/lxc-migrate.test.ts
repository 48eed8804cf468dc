import { expect, it } from 'vitest';
import { lxcObstacles } from './lxc-migrate.ts';

const storages: Readonly<Record<string, { shared: boolean; plugin: string }>> = {
  'local-lvm': { shared: false, plugin: 'lvmthin' },
  tank: { shared: false, plugin: 'zfspool' },
  rbd: { shared: true, plugin: 'rbd' },
};

it.each<[string, Record<string, unknown>, readonly string[]]>([
  ['nothing', { rootfs: 'local-lvm:vm-100-disk-0,size=4G', parent: undefined }, []],
  ['nothing where its snapshots go with it', { rootfs: 'tank:subvol-100-disk-0,size=4G', parent: 'a' }, []],
  ['nothing where all is shared', { rootfs: 'rbd:vm-100-disk-0,size=4G', parent: 'a' }, []],
  [
    'snapshots',
    { rootfs: 'local-lvm:vm-100-disk-0,size=4G', parent: 'a' },
    ['it has snapshots, which cannot leave local-lvm of its node'],
  ],
  [
    'snapshots of a data volume',
    { rootfs: 'rbd:vm-100-disk-0,size=4G', mp3: 'local-lvm:vm-100-disk-1,mp=/srv,size=1G', parent: 'a' },
    ['it has snapshots, which cannot leave local-lvm of its node'],
  ],
  [
    'a directory of its node',
    { rootfs: 'rbd:vm-100-disk-0', mp0: '/srv/media,mp=/media' },
    ['mp0 is /srv/media of its node'],
  ],
  ['nothing where that is on all', { rootfs: 'rbd:vm-100-disk-0', mp0: '/srv/media,mp=/media,shared=1' }, []],
  [
    'a linked clone',
    { rootfs: 'local-lvm:base-9000-disk-0/vm-100-disk-0,size=4G' },
    ['rootfs is a linked clone on local-lvm'],
  ],
  ['nothing that is not known', { rootfs: 'gone:vm-100-disk-0,size=4G', parent: 'a' }, []],
])('tells what keeps a container where it is: %s', (_, config, told) => {
  expect(lxcObstacles(config, (name) => storages[name])).toEqual(told);
});
