import { describe, expect, it } from 'vitest';
import { migrationObstacles } from './qemu-migrate.ts';

const allowed = { running: 0, allowed_nodes: ['pve2', 'pve3'], local_resources: [], local_disks: [] };

describe('what keeps a virtual machine where it is', () => {
  it.each<[string, unknown, readonly string[]]>([
    ['nothing, as recorded', { ...allowed, not_allowed_nodes: { pve2: {}, pve3: {} } }, []],
    ['nothing while it runs', { running: 1, local_resources: [], not_allowed_nodes: {} }, []],
    ['an answer without a word', null, []],
    [
      'a storage that is not there',
      {
        ...allowed,
        allowed_nodes: ['pve3'],
        not_allowed_nodes: { pve2: { unavailable_storages: ['nvme'] } },
      },
      ['it lacks the storage nvme'],
    ],
    [
      'a mapped device that is not there',
      { ...allowed, allowed_nodes: [], not_allowed_nodes: { pve2: { 'unavailable-resources': ['gpu'] } } },
      ['it lacks the mapped device gpu'],
    ],
    [
      'a guest that HA keeps it apart from, running or not',
      {
        ...allowed,
        running: 1,
        allowed_nodes: ['pve3'],
        not_allowed_nodes: {
          pve2: { 'blocking-ha-resources': [{ sid: 'vm:7301', cause: 'resource-affinity' }] },
        },
      },
      ['HA keeps it apart from vm:7301'],
    ],
    [
      'a disc that only its node has',
      {
        ...allowed,
        local_disks: [
          { volid: 'local:iso/setup.iso', cdrom: 1, drivename: 'ide0' },
          { volid: 'local:7200/vm-7200-cloudinit.qcow2', cdrom: 1, drivename: 'ide2' },
          { volid: 'local:7200/vm-7200-disk-0.qcow2', cdrom: 0, drivename: 'scsi0' },
        ],
      },
      ['its disc local:iso/setup.iso is on its node alone'],
    ],
    [
      'a template on a storage of its node',
      {
        ...allowed,
        local_disks: [
          { volid: 'local:9000/base-9000-disk-0.qcow2/7200/vm-7200-disk-0.qcow2', cdrom: 0 },
          { volid: 'local-zfs:base-9000-disk-1/vm-7200-disk-1', cdrom: 0 },
          { volid: 'local-lvm:vm-7200-disk-2', cdrom: 0 },
        ],
      },
      [
        'its disk local:9000/base-9000-disk-0.qcow2/7200/vm-7200-disk-0.qcow2 hangs on a template of its node',
        'its disk local-zfs:base-9000-disk-1/vm-7200-disk-1 hangs on a template of its node',
      ],
    ],
    ['a device of its node', { ...allowed, local_resources: ['hostpci0'] }, ['it uses hostpci0 of its node']],
    [
      'a mapped device while it runs',
      { ...allowed, running: '1', 'mapped-resources': ['hostpci0'] },
      ['it uses the device hostpci0 while it runs'],
    ],
    [
      'a node that is left out',
      { ...allowed, allowed_nodes: ['pve3'] },
      ['the cluster does not allow it there'],
    ],
  ])('%s', (_name, answer, told) => {
    expect(migrationObstacles(answer, 'pve2')).toEqual(told);
  });
});
