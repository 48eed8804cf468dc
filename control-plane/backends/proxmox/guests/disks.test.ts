import { expect, it } from 'vitest';
import { disksIn, storagesOf } from './disks.ts';

it('finds the storages of disks, wherever in its line a volume stands', () => {
  const config = {
    hostname: 'local:none',
    rootfs: 'local:105/vm-105-disk-0.raw,size=8G',
    mp0: 'mp=/data,volume=tank:subvol-105-disk-1,size=1G',
    mp1: '/srv/host,mp=/srv',
    scsi0: 'file=thin:vm-105-disk-2,size=4G',
    ide2: 'none,media=cdrom',
    sata0: 'cephfs:iso/debian.iso,media=cdrom',
    efidisk0: 'thin:vm-105-disk-3,efitype=4m',
    unused0: 'old:vm-105-disk-4',
  };
  expect(storagesOf(disksIn(config))).toEqual(['local', 'tank', 'thin', 'cephfs', 'old']);
  const marked = disksIn(config).filter(({ isDisc, isUnused }) => isDisc || isUnused);
  expect(marked.map(({ key }) => key)).toEqual(['ide2', 'sata0', 'unused0']);
});
