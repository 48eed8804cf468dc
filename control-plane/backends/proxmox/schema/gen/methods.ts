/** Parameters of the methods that Drover calls. Generated: npm run proxmox:schema. */

export interface LxcDev {
  readonly 'deny-write'?: boolean | undefined;
  readonly gid?: number | undefined;
  readonly mode?: string | undefined;
  readonly path?: string | undefined;
  readonly uid?: number | undefined;
}

export interface LxcFeatures {
  readonly force_rw_sys?: boolean | undefined;
  readonly fuse?: boolean | undefined;
  readonly keyctl?: boolean | undefined;
  readonly mknod?: boolean | undefined;
  readonly mount?: string | readonly string[] | undefined;
  readonly nesting?: boolean | undefined;
}

export interface LxcMp {
  readonly acl?: boolean | undefined;
  readonly backup?: boolean | undefined;
  readonly idmap?: string | readonly string[] | undefined;
  readonly keepattrs?: boolean | undefined;
  readonly mountoptions?: string | readonly string[] | undefined;
  readonly mp: string;
  readonly quota?: boolean | undefined;
  readonly replicate?: boolean | undefined;
  readonly ro?: boolean | undefined;
  readonly shared?: boolean | undefined;
  readonly size?: string | undefined;
  readonly volume: string;
}

export interface LxcNet {
  readonly bridge?: string | undefined;
  readonly firewall?: boolean | undefined;
  readonly gw?: string | undefined;
  readonly gw6?: string | undefined;
  readonly 'host-managed'?: boolean | undefined;
  readonly hwaddr?: string | undefined;
  readonly ip?: string | undefined;
  readonly ip6?: string | undefined;
  readonly link_down?: boolean | undefined;
  readonly mtu?: number | undefined;
  readonly name: string;
  readonly rate?: number | undefined;
  readonly tag?: number | undefined;
  readonly trunks?: string | readonly string[] | undefined;
  readonly type?: 'veth' | undefined;
}

export interface LxcRootfs {
  readonly acl?: boolean | undefined;
  readonly idmap?: string | readonly string[] | undefined;
  readonly mountoptions?: string | readonly string[] | undefined;
  readonly quota?: boolean | undefined;
  readonly replicate?: boolean | undefined;
  readonly ro?: boolean | undefined;
  readonly shared?: boolean | undefined;
  readonly size?: string | undefined;
  readonly volume: string;
}

export interface LxcUnused {
  readonly volume: string;
}

export interface PveSevFmt {
  readonly 'allow-smt'?: boolean | undefined;
  readonly 'kernel-hashes'?: boolean | undefined;
  readonly 'no-debug'?: boolean | undefined;
  readonly 'no-key-sharing'?: boolean | undefined;
  readonly type: string;
}

export interface PveTdxFmt {
  readonly attestation: boolean;
  readonly type: string;
  readonly 'vsock-cid'?: number | undefined;
  readonly 'vsock-port'?: number | undefined;
}

export interface PveBoot {
  readonly legacy?: string | undefined;
  readonly order?: string | readonly string[] | undefined;
}

export interface PveCicustom {
  readonly meta?: string | undefined;
  readonly network?: string | undefined;
  readonly user?: string | undefined;
  readonly vendor?: string | undefined;
}

export interface PveHostpci {
  readonly 'device-id'?: string | undefined;
  readonly driver?: 'vfio' | 'keep' | undefined;
  readonly host?: string | readonly string[] | undefined;
  readonly 'legacy-igd'?: boolean | undefined;
  readonly mapping?: string | undefined;
  readonly mdev?: string | undefined;
  readonly pcie?: boolean | undefined;
  readonly rombar?: boolean | undefined;
  readonly romfile?: string | undefined;
  readonly 'sub-device-id'?: string | undefined;
  readonly 'sub-vendor-id'?: string | undefined;
  readonly 'vendor-id'?: string | undefined;
  readonly 'x-vga'?: boolean | undefined;
}

export interface PveIpconfig {
  readonly gw?: string | undefined;
  readonly gw6?: string | undefined;
  readonly ip?: string | undefined;
  readonly ip6?: string | undefined;
}

export interface PveRng {
  readonly max_bytes?: number | undefined;
  readonly period?: number | undefined;
  readonly source: '/dev/urandom' | '/dev/random' | '/dev/hwrng';
}

export interface PveSmbios1 {
  readonly base64?: boolean | undefined;
  readonly family?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly product?: string | undefined;
  readonly serial?: string | undefined;
  readonly sku?: string | undefined;
  readonly uuid?: string | undefined;
  readonly version?: string | undefined;
}

export interface PveWatchdog {
  readonly action?: string | undefined;
  readonly model?: 'i6300esb' | 'ib700' | undefined;
}

export interface PveStartupOrder {
  readonly down?: number | undefined;
  readonly order?: number | undefined;
  readonly up?: number | undefined;
}

export interface PveCpuConf {
  readonly cputype?: string | undefined;
  readonly flags?: string | readonly string[] | undefined;
  readonly 'guest-phys-bits'?: number | undefined;
  readonly hidden?: boolean | undefined;
  readonly 'hv-vendor-id'?: string | undefined;
  readonly level?: number | undefined;
  readonly 'phys-bits'?: string | undefined;
  readonly 'reported-model'?: string | undefined;
}

export interface QemuAgent {
  readonly enabled: boolean;
  readonly 'freeze-fs'?: boolean | undefined;
  readonly 'freeze-fs-on-backup'?: boolean | undefined;
  readonly fstrim_cloned_disks?: boolean | undefined;
  readonly type?: 'virtio' | 'isa' | undefined;
}

export interface QemuAudio0 {
  readonly device: 'ich9-intel-hda' | 'intel-hda' | 'AC97';
  readonly driver?: 'spice' | 'none' | undefined;
}

export interface QemuEfidisk0 {
  readonly efitype?: '2m' | '4m' | undefined;
  readonly file: string;
  readonly format?: 'raw' | 'qcow' | 'qcow2' | 'qed' | 'vmdk' | 'cloop' | undefined;
  readonly 'import-from'?: string | undefined;
  readonly 'ms-cert'?: '2011' | '2023' | '2023w' | '2023k' | undefined;
  readonly 'pre-enrolled-keys'?: boolean | undefined;
  readonly size?: string | undefined;
}

export interface QemuIde {
  readonly aio?: 'native' | 'threads' | 'io_uring' | undefined;
  readonly backup?: boolean | undefined;
  readonly bps?: number | undefined;
  readonly bps_max_length?: number | undefined;
  readonly bps_rd?: number | undefined;
  readonly bps_rd_max_length?: number | undefined;
  readonly bps_wr?: number | undefined;
  readonly bps_wr_max_length?: number | undefined;
  readonly cache?: 'none' | 'writethrough' | 'writeback' | 'unsafe' | 'directsync' | undefined;
  readonly cyls?: number | undefined;
  readonly detect_zeroes?: boolean | undefined;
  readonly discard?: 'ignore' | 'on' | undefined;
  readonly file: string;
  readonly format?: 'raw' | 'qcow' | 'qcow2' | 'qed' | 'vmdk' | 'cloop' | undefined;
  readonly heads?: number | undefined;
  readonly 'import-from'?: string | undefined;
  readonly iops?: number | undefined;
  readonly iops_max?: number | undefined;
  readonly iops_max_length?: number | undefined;
  readonly iops_rd?: number | undefined;
  readonly iops_rd_max?: number | undefined;
  readonly iops_rd_max_length?: number | undefined;
  readonly iops_wr?: number | undefined;
  readonly iops_wr_max?: number | undefined;
  readonly iops_wr_max_length?: number | undefined;
  readonly mbps?: number | undefined;
  readonly mbps_max?: number | undefined;
  readonly mbps_rd?: number | undefined;
  readonly mbps_rd_max?: number | undefined;
  readonly mbps_wr?: number | undefined;
  readonly mbps_wr_max?: number | undefined;
  readonly media?: 'cdrom' | 'disk' | undefined;
  readonly model?: string | undefined;
  readonly replicate?: boolean | undefined;
  readonly rerror?: 'ignore' | 'report' | 'stop' | undefined;
  readonly secs?: number | undefined;
  readonly serial?: string | undefined;
  readonly shared?: boolean | undefined;
  readonly size?: string | undefined;
  readonly snapshot?: boolean | undefined;
  readonly ssd?: boolean | undefined;
  readonly trans?: 'none' | 'lba' | 'auto' | undefined;
  readonly werror?: 'enospc' | 'ignore' | 'report' | 'stop' | undefined;
  readonly wwn?: string | undefined;
}

export interface QemuIvshmem {
  readonly name?: string | undefined;
  readonly size: number;
}

export interface QemuMachine {
  readonly 'aw-bits'?: number | undefined;
  readonly 'enable-s3'?: boolean | undefined;
  readonly 'enable-s4'?: boolean | undefined;
  readonly type?: string | undefined;
  readonly viommu?: 'intel' | 'virtio' | undefined;
}

export interface QemuMemory {
  readonly current: number;
}

export interface QemuNet {
  readonly bridge?: string | undefined;
  readonly firewall?: boolean | undefined;
  readonly 'host-tunnel'?: boolean | undefined;
  readonly link_down?: boolean | undefined;
  readonly macaddr?: string | undefined;
  readonly model: 'e1000' | 'e1000-82540em' | 'e1000-82544gc' | 'e1000-82545em' | 'e1000e' | 'i82551' | 'i82557b' | 'i82559er' | 'ne2k_isa' | 'ne2k_pci' | 'pcnet' | 'rtl8139' | 'virtio' | 'vmxnet3';
  readonly mtu?: number | undefined;
  readonly queues?: number | undefined;
  readonly rate?: number | undefined;
  readonly tag?: number | undefined;
  readonly trunks?: string | readonly string[] | undefined;
}

export interface QemuNuma {
  readonly cpus: string | readonly string[];
  readonly hostnodes?: string | readonly string[] | undefined;
  readonly memory?: number | undefined;
  readonly policy?: 'preferred' | 'bind' | 'interleave' | undefined;
}

export interface QemuSata {
  readonly aio?: 'native' | 'threads' | 'io_uring' | undefined;
  readonly backup?: boolean | undefined;
  readonly bps?: number | undefined;
  readonly bps_max_length?: number | undefined;
  readonly bps_rd?: number | undefined;
  readonly bps_rd_max_length?: number | undefined;
  readonly bps_wr?: number | undefined;
  readonly bps_wr_max_length?: number | undefined;
  readonly cache?: 'none' | 'writethrough' | 'writeback' | 'unsafe' | 'directsync' | undefined;
  readonly cyls?: number | undefined;
  readonly detect_zeroes?: boolean | undefined;
  readonly discard?: 'ignore' | 'on' | undefined;
  readonly file: string;
  readonly format?: 'raw' | 'qcow' | 'qcow2' | 'qed' | 'vmdk' | 'cloop' | undefined;
  readonly heads?: number | undefined;
  readonly 'import-from'?: string | undefined;
  readonly iops?: number | undefined;
  readonly iops_max?: number | undefined;
  readonly iops_max_length?: number | undefined;
  readonly iops_rd?: number | undefined;
  readonly iops_rd_max?: number | undefined;
  readonly iops_rd_max_length?: number | undefined;
  readonly iops_wr?: number | undefined;
  readonly iops_wr_max?: number | undefined;
  readonly iops_wr_max_length?: number | undefined;
  readonly mbps?: number | undefined;
  readonly mbps_max?: number | undefined;
  readonly mbps_rd?: number | undefined;
  readonly mbps_rd_max?: number | undefined;
  readonly mbps_wr?: number | undefined;
  readonly mbps_wr_max?: number | undefined;
  readonly media?: 'cdrom' | 'disk' | undefined;
  readonly replicate?: boolean | undefined;
  readonly rerror?: 'ignore' | 'report' | 'stop' | undefined;
  readonly secs?: number | undefined;
  readonly serial?: string | undefined;
  readonly shared?: boolean | undefined;
  readonly size?: string | undefined;
  readonly snapshot?: boolean | undefined;
  readonly ssd?: boolean | undefined;
  readonly trans?: 'none' | 'lba' | 'auto' | undefined;
  readonly werror?: 'enospc' | 'ignore' | 'report' | 'stop' | undefined;
  readonly wwn?: string | undefined;
}

export interface QemuScsi {
  readonly aio?: 'native' | 'threads' | 'io_uring' | undefined;
  readonly backup?: boolean | undefined;
  readonly bps?: number | undefined;
  readonly bps_max_length?: number | undefined;
  readonly bps_rd?: number | undefined;
  readonly bps_rd_max_length?: number | undefined;
  readonly bps_wr?: number | undefined;
  readonly bps_wr_max_length?: number | undefined;
  readonly cache?: 'none' | 'writethrough' | 'writeback' | 'unsafe' | 'directsync' | undefined;
  readonly cyls?: number | undefined;
  readonly detect_zeroes?: boolean | undefined;
  readonly discard?: 'ignore' | 'on' | undefined;
  readonly file: string;
  readonly format?: 'raw' | 'qcow' | 'qcow2' | 'qed' | 'vmdk' | 'cloop' | undefined;
  readonly heads?: number | undefined;
  readonly 'import-from'?: string | undefined;
  readonly iops?: number | undefined;
  readonly iops_max?: number | undefined;
  readonly iops_max_length?: number | undefined;
  readonly iops_rd?: number | undefined;
  readonly iops_rd_max?: number | undefined;
  readonly iops_rd_max_length?: number | undefined;
  readonly iops_wr?: number | undefined;
  readonly iops_wr_max?: number | undefined;
  readonly iops_wr_max_length?: number | undefined;
  readonly iothread?: boolean | undefined;
  readonly mbps?: number | undefined;
  readonly mbps_max?: number | undefined;
  readonly mbps_rd?: number | undefined;
  readonly mbps_rd_max?: number | undefined;
  readonly mbps_wr?: number | undefined;
  readonly mbps_wr_max?: number | undefined;
  readonly media?: 'cdrom' | 'disk' | undefined;
  readonly product?: string | undefined;
  readonly queues?: number | undefined;
  readonly replicate?: boolean | undefined;
  readonly rerror?: 'ignore' | 'report' | 'stop' | undefined;
  readonly ro?: boolean | undefined;
  readonly scsiblock?: boolean | undefined;
  readonly secs?: number | undefined;
  readonly serial?: string | undefined;
  readonly shared?: boolean | undefined;
  readonly size?: string | undefined;
  readonly snapshot?: boolean | undefined;
  readonly ssd?: boolean | undefined;
  readonly trans?: 'none' | 'lba' | 'auto' | undefined;
  readonly vendor?: string | undefined;
  readonly werror?: 'enospc' | 'ignore' | 'report' | 'stop' | undefined;
  readonly wwn?: string | undefined;
}

export interface QemuSpiceEnhancements {
  readonly foldersharing?: boolean | undefined;
  readonly videostreaming?: 'off' | 'all' | 'filter' | undefined;
}

export interface QemuTpmstate0 {
  readonly file: string;
  readonly format?: 'raw' | 'qcow2' | 'vmdk' | undefined;
  readonly 'import-from'?: string | undefined;
  readonly size?: string | undefined;
  readonly version?: 'v1.2' | 'v2.0' | undefined;
}

export interface QemuUnused {
  readonly file: string;
}

export interface QemuUsb {
  readonly host?: string | undefined;
  readonly mapping?: string | undefined;
  readonly usb3?: boolean | undefined;
}

export interface QemuVga {
  readonly clipboard?: 'vnc' | undefined;
  readonly memory?: number | undefined;
  readonly type?: 'cirrus' | 'qxl' | 'qxl2' | 'qxl3' | 'qxl4' | 'none' | 'serial0' | 'serial1' | 'serial2' | 'serial3' | 'std' | 'virtio' | 'virtio-gl' | 'vmware' | undefined;
}

export interface QemuVirtio {
  readonly aio?: 'native' | 'threads' | 'io_uring' | undefined;
  readonly backup?: boolean | undefined;
  readonly bps?: number | undefined;
  readonly bps_max_length?: number | undefined;
  readonly bps_rd?: number | undefined;
  readonly bps_rd_max_length?: number | undefined;
  readonly bps_wr?: number | undefined;
  readonly bps_wr_max_length?: number | undefined;
  readonly cache?: 'none' | 'writethrough' | 'writeback' | 'unsafe' | 'directsync' | undefined;
  readonly cyls?: number | undefined;
  readonly detect_zeroes?: boolean | undefined;
  readonly discard?: 'ignore' | 'on' | undefined;
  readonly file: string;
  readonly format?: 'raw' | 'qcow' | 'qcow2' | 'qed' | 'vmdk' | 'cloop' | undefined;
  readonly heads?: number | undefined;
  readonly 'import-from'?: string | undefined;
  readonly iops?: number | undefined;
  readonly iops_max?: number | undefined;
  readonly iops_max_length?: number | undefined;
  readonly iops_rd?: number | undefined;
  readonly iops_rd_max?: number | undefined;
  readonly iops_rd_max_length?: number | undefined;
  readonly iops_wr?: number | undefined;
  readonly iops_wr_max?: number | undefined;
  readonly iops_wr_max_length?: number | undefined;
  readonly iothread?: boolean | undefined;
  readonly mbps?: number | undefined;
  readonly mbps_max?: number | undefined;
  readonly mbps_rd?: number | undefined;
  readonly mbps_rd_max?: number | undefined;
  readonly mbps_wr?: number | undefined;
  readonly mbps_wr_max?: number | undefined;
  readonly media?: 'cdrom' | 'disk' | undefined;
  readonly replicate?: boolean | undefined;
  readonly rerror?: 'ignore' | 'report' | 'stop' | undefined;
  readonly ro?: boolean | undefined;
  readonly secs?: number | undefined;
  readonly serial?: string | undefined;
  readonly shared?: boolean | undefined;
  readonly size?: string | undefined;
  readonly snapshot?: boolean | undefined;
  readonly trans?: 'none' | 'lba' | 'auto' | undefined;
  readonly werror?: 'enospc' | 'ignore' | 'report' | 'stop' | undefined;
}

export interface QemuVirtiofs {
  readonly cache?: 'auto' | 'always' | 'metadata' | 'never' | undefined;
  readonly 'direct-io'?: boolean | undefined;
  readonly dirid: string;
  readonly 'expose-acl'?: boolean | undefined;
  readonly 'expose-xattr'?: boolean | undefined;
}

export interface Methods {
  'DELETE /access/users/{userid}/token/{tokenid}': {
    readonly tokenid: string;
    readonly userid: string;
  };
  'DELETE /cluster/ha/groups/{group}': {
    readonly group: string;
  };
  'DELETE /cluster/ha/resources/{sid}': {
    readonly purge?: boolean | undefined;
    readonly sid: string;
  };
  'DELETE /cluster/ha/rules/{rule}': {
    readonly rule: string;
  };
  'DELETE /nodes/{node}/lxc/{vmid}': {
    readonly 'destroy-unreferenced-disks'?: boolean | undefined;
    readonly force?: boolean | undefined;
    readonly node: string;
    readonly purge?: boolean | undefined;
    readonly vmid: number;
  };
  'DELETE /nodes/{node}/lxc/{vmid}/snapshot/{snapname}': {
    readonly force?: boolean | undefined;
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'DELETE /nodes/{node}/qemu/{vmid}': {
    readonly 'destroy-unreferenced-disks'?: boolean | undefined;
    readonly node: string;
    readonly purge?: boolean | undefined;
    readonly skiplock?: boolean | undefined;
    readonly vmid: number;
  };
  'DELETE /nodes/{node}/qemu/{vmid}/snapshot/{snapname}': {
    readonly force?: boolean | undefined;
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'DELETE /nodes/{node}/storage/{storage}/content/{volume}': {
    readonly delay?: number | undefined;
    readonly node: string;
    readonly storage?: string | undefined;
    readonly volume: string;
  };
  'DELETE /nodes/{node}/tasks/{upid}': {
    readonly node: string;
    readonly upid: string;
  };
  'DELETE /pools': {
    readonly poolid: string;
  };
  'GET /access/permissions': {
    readonly path?: string | undefined;
    readonly userid?: string | undefined;
  };
  'GET /access/roles': Record<never, never>;
  'GET /access/ticket': Record<never, never>;
  'GET /access/users': {
    readonly enabled?: boolean | undefined;
    readonly full?: boolean | undefined;
  };
  'GET /access/users/{userid}/token': {
    readonly userid: string;
  };
  'GET /cluster/config/nodes': Record<never, never>;
  'GET /cluster/ha/groups': Record<never, never>;
  'GET /cluster/ha/groups/{group}': {
    readonly group: string;
  };
  'GET /cluster/ha/resources': {
    readonly type?: 'ct' | 'vm' | undefined;
  };
  'GET /cluster/ha/resources/{sid}': {
    readonly sid: string;
  };
  'GET /cluster/ha/rules': {
    readonly resource?: string | undefined;
    readonly type?: 'node-affinity' | 'resource-affinity' | undefined;
  };
  'GET /cluster/ha/rules/{rule}': {
    readonly rule: string;
  };
  'GET /cluster/ha/status/current': Record<never, never>;
  'GET /cluster/ha/status/manager_status': Record<never, never>;
  'GET /cluster/nextid': {
    readonly vmid?: number | undefined;
  };
  'GET /cluster/options': Record<never, never>;
  'GET /cluster/resources': {
    readonly type?: 'vm' | 'storage' | 'node' | 'sdn' | undefined;
  };
  'GET /cluster/status': Record<never, never>;
  'GET /cluster/tasks': Record<never, never>;
  'GET /nodes': Record<never, never>;
  'GET /nodes/{node}/lxc': {
    readonly node: string;
  };
  'GET /nodes/{node}/lxc/{vmid}': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/config': {
    readonly current?: boolean | undefined;
    readonly node: string;
    readonly snapshot?: string | undefined;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/feature': {
    readonly feature: 'snapshot' | 'clone' | 'copy';
    readonly node: string;
    readonly snapname?: string | undefined;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/interfaces': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/migrate': {
    readonly node: string;
    readonly target?: string | undefined;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/pending': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/rrddata': {
    readonly cf?: 'AVERAGE' | 'MAX' | undefined;
    readonly node: string;
    readonly timeframe: 'hour' | 'day' | 'week' | 'month' | 'year';
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/snapshot': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/snapshot/{snapname}': {
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config': {
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/status': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/status/current': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/lxc/{vmid}/vncwebsocket': {
    readonly node: string;
    readonly port: number;
    readonly vmid: number;
    readonly vncticket: string;
  };
  'GET /nodes/{node}/network': {
    readonly node: string;
    readonly type?: 'bridge' | 'bond' | 'eth' | 'alias' | 'vlan' | 'OVSBridge' | 'OVSBond' | 'OVSPort' | 'OVSIntPort' | 'vnet' | 'any_bridge' | 'any_local_bridge' | 'fabric' | 'include_sdn' | undefined;
  };
  'GET /nodes/{node}/qemu': {
    readonly full?: boolean | undefined;
    readonly node: string;
  };
  'GET /nodes/{node}/qemu/{vmid}': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/exec-status': {
    readonly node: string;
    readonly pid: number;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/file-read': {
    readonly count?: number | undefined;
    readonly decode?: boolean | undefined;
    readonly file: string;
    readonly node: string;
    readonly offset?: number | undefined;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-fsinfo': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-host-name': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-memory-block-info': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-memory-blocks': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-time': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-timezone': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-users': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/get-vcpus': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/info': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/cloudinit': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/cloudinit/dump': {
    readonly node: string;
    readonly type: 'user' | 'network' | 'meta';
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/config': {
    readonly current?: boolean | undefined;
    readonly node: string;
    readonly snapshot?: string | undefined;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/feature': {
    readonly feature: 'snapshot' | 'clone' | 'copy';
    readonly node: string;
    readonly snapname?: string | undefined;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/migrate': {
    readonly node: string;
    readonly target?: string | undefined;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/pending': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/rrddata': {
    readonly cf?: 'AVERAGE' | 'MAX' | undefined;
    readonly node: string;
    readonly timeframe: 'hour' | 'day' | 'week' | 'month' | 'year';
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/snapshot': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/snapshot/{snapname}': {
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config': {
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/status': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/status/current': {
    readonly node: string;
    readonly vmid: number;
  };
  'GET /nodes/{node}/qemu/{vmid}/vncwebsocket': {
    readonly node: string;
    readonly port: number;
    readonly vmid: number;
    readonly vncticket: string;
  };
  'GET /nodes/{node}/query-oci-repo-tags': {
    readonly node: string;
    readonly reference: string;
  };
  'GET /nodes/{node}/query-url-metadata': {
    readonly node: string;
    readonly url: string;
    readonly 'verify-certificates'?: boolean | undefined;
  };
  'GET /nodes/{node}/rrddata': {
    readonly cf?: 'AVERAGE' | 'MAX' | undefined;
    readonly node: string;
    readonly timeframe: 'hour' | 'day' | 'week' | 'month' | 'year' | 'decade';
  };
  'GET /nodes/{node}/status': {
    readonly node: string;
  };
  'GET /nodes/{node}/storage': {
    readonly content?: string | undefined;
    readonly enabled?: boolean | undefined;
    readonly format?: boolean | undefined;
    readonly node: string;
    readonly storage?: string | undefined;
    readonly target?: string | undefined;
  };
  'GET /nodes/{node}/storage/{storage}/content': {
    readonly content?: string | undefined;
    readonly node: string;
    readonly storage: string;
    readonly vmid?: number | undefined;
  };
  'GET /nodes/{node}/storage/{storage}/content/{volume}': {
    readonly node: string;
    readonly storage?: string | undefined;
    readonly volume: string;
  };
  'GET /nodes/{node}/storage/{storage}/rrddata': {
    readonly cf?: 'AVERAGE' | 'MAX' | undefined;
    readonly node: string;
    readonly storage: string;
    readonly timeframe: 'hour' | 'day' | 'week' | 'month' | 'year';
  };
  'GET /nodes/{node}/storage/{storage}/status': {
    readonly node: string;
    readonly storage: string;
  };
  'GET /nodes/{node}/tasks': {
    readonly errors?: boolean | undefined;
    readonly limit?: number | undefined;
    readonly node: string;
    readonly since?: number | undefined;
    readonly source?: 'archive' | 'active' | 'all' | undefined;
    readonly start?: number | undefined;
    readonly statusfilter?: string | undefined;
    readonly typefilter?: string | undefined;
    readonly until?: number | undefined;
    readonly userfilter?: string | undefined;
    readonly vmid?: number | undefined;
  };
  'GET /nodes/{node}/tasks/{upid}': {
    readonly node: string;
    readonly upid: string;
  };
  'GET /nodes/{node}/tasks/{upid}/log': {
    readonly download?: boolean | undefined;
    readonly limit?: number | undefined;
    readonly node: string;
    readonly start?: number | undefined;
    readonly upid: string;
  };
  'GET /nodes/{node}/tasks/{upid}/status': {
    readonly node: string;
    readonly upid: string;
  };
  'GET /nodes/{node}/time': {
    readonly node: string;
  };
  'GET /nodes/{node}/version': {
    readonly node: string;
  };
  'GET /pools': {
    readonly poolid?: string | undefined;
    readonly type?: 'qemu' | 'lxc' | 'storage' | undefined;
  };
  'GET /pools/{poolid}': {
    readonly poolid: string;
    readonly type?: 'qemu' | 'lxc' | 'storage' | undefined;
  };
  'GET /storage': {
    readonly type?: 'btrfs' | 'cephfs' | 'cifs' | 'dir' | 'esxi' | 'glusterfs' | 'iscsi' | 'iscsidirect' | 'lvm' | 'lvmthin' | 'nfs' | 'pbs' | 'rbd' | 'zfs' | 'zfspool' | undefined;
  };
  'GET /version': Record<never, never>;
  'POST /access/ticket': {
    readonly 'new-format'?: boolean | undefined;
    readonly otp?: string | undefined;
    readonly password: string;
    readonly path?: string | undefined;
    readonly privs?: string | undefined;
    readonly realm?: string | undefined;
    readonly 'tfa-challenge'?: string | undefined;
    readonly username: string;
  };
  'POST /access/users/{userid}/token/{tokenid}': {
    readonly comment?: string | undefined;
    readonly expire?: number | undefined;
    readonly privsep?: boolean | undefined;
    readonly tokenid: string;
    readonly userid: string;
  };
  'POST /cluster/ha/groups': {
    readonly comment?: string | undefined;
    readonly group: string;
    readonly nodes: string;
    readonly nofailback?: boolean | undefined;
    readonly restricted?: boolean | undefined;
    readonly type?: 'group' | undefined;
  };
  'POST /cluster/ha/resources': {
    readonly comment?: string | undefined;
    readonly failback?: boolean | undefined;
    readonly group?: string | undefined;
    readonly max_relocate?: number | undefined;
    readonly max_restart?: number | undefined;
    readonly sid: string;
    readonly state?: 'started' | 'stopped' | 'enabled' | 'disabled' | 'ignored' | undefined;
    readonly type?: 'ct' | 'vm' | undefined;
  };
  'POST /cluster/ha/resources/{sid}/migrate': {
    readonly node: string;
    readonly sid: string;
  };
  'POST /cluster/ha/resources/{sid}/relocate': {
    readonly node: string;
    readonly sid: string;
  };
  'POST /cluster/ha/rules': {
    readonly affinity?: 'positive' | 'negative' | undefined;
    readonly comment?: string | undefined;
    readonly disable?: boolean | undefined;
    readonly nodes?: string | undefined;
    readonly resources?: string | undefined;
    readonly rule: string;
    readonly strict?: boolean | undefined;
    readonly type: 'node-affinity' | 'resource-affinity';
  };
  'POST /nodes/{node}/lxc': {
    readonly arch?: 'amd64' | 'i386' | 'arm64' | 'armhf' | 'riscv32' | 'riscv64' | undefined;
    readonly bwlimit?: number | undefined;
    readonly cmode?: 'shell' | 'console' | 'tty' | undefined;
    readonly console?: boolean | undefined;
    readonly cores?: number | undefined;
    readonly cpulimit?: number | undefined;
    readonly cpuunits?: number | undefined;
    readonly debug?: boolean | undefined;
    readonly description?: string | undefined;
    readonly [name: `dev${number}`]: LxcDev | string | undefined;
    readonly entrypoint?: string | undefined;
    readonly env?: string | undefined;
    readonly features?: LxcFeatures | string | undefined;
    readonly force?: boolean | undefined;
    readonly 'ha-managed'?: boolean | undefined;
    readonly hookscript?: string | undefined;
    readonly hostname?: string | undefined;
    readonly 'ignore-unpack-errors'?: boolean | undefined;
    readonly lock?: 'backup' | 'create' | 'destroyed' | 'disk' | 'fstrim' | 'migrate' | 'mounted' | 'rollback' | 'snapshot' | 'snapshot-delete' | undefined;
    readonly memory?: number | undefined;
    readonly [name: `mp${number}`]: LxcMp | string | undefined;
    readonly nameserver?: string | undefined;
    readonly [name: `net${number}`]: LxcNet | string | undefined;
    readonly node: string;
    readonly onboot?: boolean | undefined;
    readonly ostemplate: string;
    readonly ostype?: 'debian' | 'devuan' | 'ubuntu' | 'centos' | 'fedora' | 'opensuse' | 'archlinux' | 'alpine' | 'gentoo' | 'nixos' | 'unmanaged' | undefined;
    readonly password?: string | undefined;
    readonly pool?: string | undefined;
    readonly protection?: boolean | undefined;
    readonly restore?: boolean | undefined;
    readonly rootfs?: LxcRootfs | string | undefined;
    readonly searchdomain?: string | undefined;
    readonly 'ssh-public-keys'?: string | undefined;
    readonly start?: boolean | undefined;
    readonly startup?: PveStartupOrder | string | number | undefined;
    readonly storage?: string | undefined;
    readonly swap?: number | undefined;
    readonly tags?: string | undefined;
    readonly template?: boolean | undefined;
    readonly timezone?: string | undefined;
    readonly tty?: number | undefined;
    readonly unique?: boolean | undefined;
    readonly unprivileged?: boolean | undefined;
    readonly [name: `unused${number}`]: LxcUnused | string | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/clone': {
    readonly bwlimit?: number | undefined;
    readonly description?: string | undefined;
    readonly full?: boolean | undefined;
    readonly hostname?: string | undefined;
    readonly newid: number;
    readonly node: string;
    readonly pool?: string | undefined;
    readonly snapname?: string | undefined;
    readonly storage?: string | undefined;
    readonly target?: string | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/migrate': {
    readonly bwlimit?: number | undefined;
    readonly node: string;
    readonly online?: boolean | undefined;
    readonly restart?: boolean | undefined;
    readonly target: string;
    readonly 'target-storage'?: string | undefined;
    readonly timeout?: number | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/move_volume': {
    readonly bwlimit?: number | undefined;
    readonly delete?: boolean | undefined;
    readonly digest?: string | undefined;
    readonly node: string;
    readonly storage?: string | undefined;
    readonly 'target-digest'?: string | undefined;
    readonly 'target-vmid'?: number | undefined;
    readonly 'target-volume'?: 'rootfs' | `mp${number}` | `unused${number}` | undefined;
    readonly vmid: number;
    readonly volume: 'rootfs' | `mp${number}` | `unused${number}`;
  };
  'POST /nodes/{node}/lxc/{vmid}/snapshot': {
    readonly description?: string | undefined;
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback': {
    readonly node: string;
    readonly snapname: string;
    readonly start?: boolean | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/status/reboot': {
    readonly node: string;
    readonly timeout?: number | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/status/resume': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/status/shutdown': {
    readonly forceStop?: boolean | undefined;
    readonly node: string;
    readonly timeout?: number | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/status/start': {
    readonly debug?: boolean | undefined;
    readonly node: string;
    readonly skiplock?: boolean | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/status/stop': {
    readonly node: string;
    readonly 'overrule-shutdown'?: boolean | undefined;
    readonly skiplock?: boolean | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/status/suspend': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/template': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/termproxy': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/lxc/{vmid}/vncproxy': {
    readonly height?: number | undefined;
    readonly node: string;
    readonly vmid: number;
    readonly websocket?: boolean | undefined;
    readonly width?: number | undefined;
  };
  'POST /nodes/{node}/qemu': {
    readonly acpi?: boolean | undefined;
    readonly affinity?: string | undefined;
    readonly agent?: QemuAgent | string | boolean | undefined;
    readonly 'allow-ksm'?: boolean | undefined;
    readonly 'amd-sev'?: PveSevFmt | string | undefined;
    readonly arch?: 'x86_64' | 'aarch64' | undefined;
    readonly archive?: string | undefined;
    readonly args?: string | undefined;
    readonly audio0?: QemuAudio0 | string | undefined;
    readonly autostart?: boolean | undefined;
    readonly balloon?: number | undefined;
    readonly bios?: 'seabios' | 'ovmf' | undefined;
    readonly boot?: PveBoot | string | undefined;
    readonly bootdisk?: string | undefined;
    readonly bwlimit?: number | undefined;
    readonly cdrom?: string | undefined;
    readonly cicustom?: PveCicustom | string | undefined;
    readonly cipassword?: string | undefined;
    readonly citype?: 'configdrive2' | 'nocloud' | 'opennebula' | undefined;
    readonly ciupgrade?: boolean | undefined;
    readonly ciuser?: string | undefined;
    readonly cores?: number | undefined;
    readonly cpu?: PveCpuConf | string | undefined;
    readonly cpulimit?: number | undefined;
    readonly cpuunits?: number | undefined;
    readonly description?: string | undefined;
    readonly efidisk0?: QemuEfidisk0 | string | undefined;
    readonly force?: boolean | undefined;
    readonly freeze?: boolean | undefined;
    readonly 'ha-managed'?: boolean | undefined;
    readonly hookscript?: string | undefined;
    readonly [name: `hostpci${number}`]: PveHostpci | string | undefined;
    readonly hotplug?: string | undefined;
    readonly hugepages?: 'any' | '2' | '1024' | undefined;
    readonly [name: `ide${number}`]: QemuIde | string | undefined;
    readonly 'import-working-storage'?: string | undefined;
    readonly 'intel-tdx'?: PveTdxFmt | string | undefined;
    readonly [name: `ipconfig${number}`]: PveIpconfig | string | undefined;
    readonly ivshmem?: QemuIvshmem | string | undefined;
    readonly keephugepages?: boolean | undefined;
    readonly keyboard?: 'de' | 'de-ch' | 'da' | 'en-gb' | 'en-us' | 'es' | 'fi' | 'fr' | 'fr-be' | 'fr-ca' | 'fr-ch' | 'hu' | 'is' | 'it' | 'ja' | 'lt' | 'mk' | 'nl' | 'no' | 'pl' | 'pt' | 'pt-br' | 'sv' | 'sl' | 'tr' | undefined;
    readonly kvm?: boolean | undefined;
    readonly 'live-restore'?: boolean | undefined;
    readonly localtime?: boolean | undefined;
    readonly lock?: 'backup' | 'clone' | 'create' | 'migrate' | 'rollback' | 'snapshot' | 'snapshot-delete' | 'suspending' | 'suspended' | undefined;
    readonly machine?: QemuMachine | string | undefined;
    readonly memory?: QemuMemory | string | number | undefined;
    readonly migrate_downtime?: number | undefined;
    readonly migrate_speed?: number | undefined;
    readonly name?: string | undefined;
    readonly nameserver?: string | undefined;
    readonly [name: `net${number}`]: QemuNet | string | undefined;
    readonly node: string;
    readonly numa?: boolean | undefined;
    readonly [name: `numa${number}`]: QemuNuma | string | undefined;
    readonly onboot?: boolean | undefined;
    readonly ostype?: 'other' | 'wxp' | 'w2k' | 'w2k3' | 'w2k8' | 'wvista' | 'win7' | 'win8' | 'win10' | 'win11' | 'l24' | 'l26' | 'solaris' | undefined;
    readonly [name: `parallel${number}`]: string | undefined;
    readonly pool?: string | undefined;
    readonly protection?: boolean | undefined;
    readonly reboot?: boolean | undefined;
    readonly rng0?: PveRng | string | undefined;
    readonly [name: `sata${number}`]: QemuSata | string | undefined;
    readonly [name: `scsi${number}`]: QemuScsi | string | undefined;
    readonly scsihw?: 'lsi' | 'lsi53c810' | 'virtio-scsi-pci' | 'virtio-scsi-single' | 'megasas' | 'pvscsi' | undefined;
    readonly searchdomain?: string | undefined;
    readonly [name: `serial${number}`]: string | undefined;
    readonly shares?: number | undefined;
    readonly smbios1?: PveSmbios1 | string | undefined;
    readonly smp?: number | undefined;
    readonly sockets?: number | undefined;
    readonly spice_enhancements?: QemuSpiceEnhancements | string | undefined;
    readonly sshkeys?: string | undefined;
    readonly start?: boolean | undefined;
    readonly startdate?: string | undefined;
    readonly startup?: PveStartupOrder | string | number | undefined;
    readonly storage?: string | undefined;
    readonly tablet?: boolean | undefined;
    readonly tags?: string | undefined;
    readonly tdf?: boolean | undefined;
    readonly template?: boolean | undefined;
    readonly tpmstate0?: QemuTpmstate0 | string | undefined;
    readonly unique?: boolean | undefined;
    readonly [name: `unused${number}`]: QemuUnused | string | undefined;
    readonly [name: `usb${number}`]: QemuUsb | string | undefined;
    readonly vcpus?: number | undefined;
    readonly vga?: QemuVga | string | undefined;
    readonly [name: `virtio${number}`]: QemuVirtio | string | undefined;
    readonly [name: `virtiofs${number}`]: QemuVirtiofs | string | undefined;
    readonly vmgenid?: string | undefined;
    readonly vmid: number;
    readonly vmstatestorage?: string | undefined;
    readonly watchdog?: PveWatchdog | string | undefined;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent': {
    readonly command: 'fsfreeze-freeze' | 'fsfreeze-status' | 'fsfreeze-thaw' | 'fstrim' | 'get-fsinfo' | 'get-host-name' | 'get-memory-block-info' | 'get-memory-blocks' | 'get-osinfo' | 'get-time' | 'get-timezone' | 'get-users' | 'get-vcpus' | 'info' | 'network-get-interfaces' | 'ping' | 'shutdown' | 'suspend-disk' | 'suspend-hybrid' | 'suspend-ram';
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/exec': {
    readonly command: string | readonly string[];
    readonly 'input-data'?: string | undefined;
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/file-write': {
    readonly content: string;
    readonly encode?: boolean | undefined;
    readonly file: string;
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-freeze': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-status': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-thaw': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/fstrim': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/ping': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/set-user-password': {
    readonly crypted?: boolean | undefined;
    readonly node: string;
    readonly password: string;
    readonly username: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/shutdown': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/suspend-disk': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/suspend-hybrid': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/agent/suspend-ram': {
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/clone': {
    readonly bwlimit?: number | undefined;
    readonly description?: string | undefined;
    readonly format?: 'raw' | 'qcow2' | 'vmdk' | undefined;
    readonly full?: boolean | undefined;
    readonly name?: string | undefined;
    readonly newid: number;
    readonly node: string;
    readonly pool?: string | undefined;
    readonly snapname?: string | undefined;
    readonly storage?: string | undefined;
    readonly target?: string | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/config': {
    readonly acpi?: boolean | undefined;
    readonly affinity?: string | undefined;
    readonly agent?: QemuAgent | string | boolean | undefined;
    readonly 'allow-ksm'?: boolean | undefined;
    readonly 'amd-sev'?: PveSevFmt | string | undefined;
    readonly arch?: 'x86_64' | 'aarch64' | undefined;
    readonly args?: string | undefined;
    readonly audio0?: QemuAudio0 | string | undefined;
    readonly autostart?: boolean | undefined;
    readonly background_delay?: number | undefined;
    readonly balloon?: number | undefined;
    readonly bios?: 'seabios' | 'ovmf' | undefined;
    readonly boot?: PveBoot | string | undefined;
    readonly bootdisk?: string | undefined;
    readonly cdrom?: string | undefined;
    readonly cicustom?: PveCicustom | string | undefined;
    readonly cipassword?: string | undefined;
    readonly citype?: 'configdrive2' | 'nocloud' | 'opennebula' | undefined;
    readonly ciupgrade?: boolean | undefined;
    readonly ciuser?: string | undefined;
    readonly cores?: number | undefined;
    readonly cpu?: PveCpuConf | string | undefined;
    readonly cpulimit?: number | undefined;
    readonly cpuunits?: number | undefined;
    readonly delete?: string | undefined;
    readonly description?: string | undefined;
    readonly digest?: string | undefined;
    readonly efidisk0?: QemuEfidisk0 | string | undefined;
    readonly force?: boolean | undefined;
    readonly freeze?: boolean | undefined;
    readonly hookscript?: string | undefined;
    readonly [name: `hostpci${number}`]: PveHostpci | string | undefined;
    readonly hotplug?: string | undefined;
    readonly hugepages?: 'any' | '2' | '1024' | undefined;
    readonly [name: `ide${number}`]: QemuIde | string | undefined;
    readonly 'import-working-storage'?: string | undefined;
    readonly 'intel-tdx'?: PveTdxFmt | string | undefined;
    readonly [name: `ipconfig${number}`]: PveIpconfig | string | undefined;
    readonly ivshmem?: QemuIvshmem | string | undefined;
    readonly keephugepages?: boolean | undefined;
    readonly keyboard?: 'de' | 'de-ch' | 'da' | 'en-gb' | 'en-us' | 'es' | 'fi' | 'fr' | 'fr-be' | 'fr-ca' | 'fr-ch' | 'hu' | 'is' | 'it' | 'ja' | 'lt' | 'mk' | 'nl' | 'no' | 'pl' | 'pt' | 'pt-br' | 'sv' | 'sl' | 'tr' | undefined;
    readonly kvm?: boolean | undefined;
    readonly localtime?: boolean | undefined;
    readonly lock?: 'backup' | 'clone' | 'create' | 'migrate' | 'rollback' | 'snapshot' | 'snapshot-delete' | 'suspending' | 'suspended' | undefined;
    readonly machine?: QemuMachine | string | undefined;
    readonly memory?: QemuMemory | string | number | undefined;
    readonly migrate_downtime?: number | undefined;
    readonly migrate_speed?: number | undefined;
    readonly name?: string | undefined;
    readonly nameserver?: string | undefined;
    readonly [name: `net${number}`]: QemuNet | string | undefined;
    readonly node: string;
    readonly numa?: boolean | undefined;
    readonly [name: `numa${number}`]: QemuNuma | string | undefined;
    readonly onboot?: boolean | undefined;
    readonly ostype?: 'other' | 'wxp' | 'w2k' | 'w2k3' | 'w2k8' | 'wvista' | 'win7' | 'win8' | 'win10' | 'win11' | 'l24' | 'l26' | 'solaris' | undefined;
    readonly [name: `parallel${number}`]: string | undefined;
    readonly protection?: boolean | undefined;
    readonly reboot?: boolean | undefined;
    readonly revert?: string | undefined;
    readonly rng0?: PveRng | string | undefined;
    readonly [name: `sata${number}`]: QemuSata | string | undefined;
    readonly [name: `scsi${number}`]: QemuScsi | string | undefined;
    readonly scsihw?: 'lsi' | 'lsi53c810' | 'virtio-scsi-pci' | 'virtio-scsi-single' | 'megasas' | 'pvscsi' | undefined;
    readonly searchdomain?: string | undefined;
    readonly [name: `serial${number}`]: string | undefined;
    readonly shares?: number | undefined;
    readonly skiplock?: boolean | undefined;
    readonly smbios1?: PveSmbios1 | string | undefined;
    readonly smp?: number | undefined;
    readonly sockets?: number | undefined;
    readonly spice_enhancements?: QemuSpiceEnhancements | string | undefined;
    readonly sshkeys?: string | undefined;
    readonly startdate?: string | undefined;
    readonly startup?: PveStartupOrder | string | number | undefined;
    readonly tablet?: boolean | undefined;
    readonly tags?: string | undefined;
    readonly tdf?: boolean | undefined;
    readonly template?: boolean | undefined;
    readonly tpmstate0?: QemuTpmstate0 | string | undefined;
    readonly [name: `unused${number}`]: QemuUnused | string | undefined;
    readonly [name: `usb${number}`]: QemuUsb | string | undefined;
    readonly vcpus?: number | undefined;
    readonly vga?: QemuVga | string | undefined;
    readonly [name: `virtio${number}`]: QemuVirtio | string | undefined;
    readonly [name: `virtiofs${number}`]: QemuVirtiofs | string | undefined;
    readonly vmgenid?: string | undefined;
    readonly vmid: number;
    readonly vmstatestorage?: string | undefined;
    readonly watchdog?: PveWatchdog | string | undefined;
  };
  'POST /nodes/{node}/qemu/{vmid}/migrate': {
    readonly bwlimit?: number | undefined;
    readonly force?: boolean | undefined;
    readonly migration_network?: string | undefined;
    readonly migration_type?: 'secure' | 'insecure' | undefined;
    readonly node: string;
    readonly online?: boolean | undefined;
    readonly target: string;
    readonly targetstorage?: string | undefined;
    readonly vmid: number;
    readonly 'with-conntrack-state'?: boolean | undefined;
    readonly 'with-local-disks'?: boolean | undefined;
  };
  'POST /nodes/{node}/qemu/{vmid}/move_disk': {
    readonly bwlimit?: number | undefined;
    readonly delete?: boolean | undefined;
    readonly digest?: string | undefined;
    readonly disk: 'ide0' | 'ide1' | 'ide2' | 'ide3' | `scsi${number}` | `virtio${number}` | 'sata0' | 'sata1' | 'sata2' | 'sata3' | 'sata4' | 'sata5' | 'efidisk0' | 'tpmstate0' | `unused${number}`;
    readonly format?: 'raw' | 'qcow2' | 'vmdk' | undefined;
    readonly node: string;
    readonly storage?: string | undefined;
    readonly 'target-digest'?: string | undefined;
    readonly 'target-disk'?: 'ide0' | 'ide1' | 'ide2' | 'ide3' | `scsi${number}` | `virtio${number}` | 'sata0' | 'sata1' | 'sata2' | 'sata3' | 'sata4' | 'sata5' | 'efidisk0' | 'tpmstate0' | `unused${number}` | undefined;
    readonly 'target-vmid'?: number | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/snapshot': {
    readonly description?: string | undefined;
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
    readonly vmstate?: boolean | undefined;
  };
  'POST /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback': {
    readonly node: string;
    readonly snapname: string;
    readonly start?: boolean | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/status/reboot': {
    readonly node: string;
    readonly timeout?: number | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/status/reset': {
    readonly node: string;
    readonly skiplock?: boolean | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/status/resume': {
    readonly nocheck?: boolean | undefined;
    readonly node: string;
    readonly skiplock?: boolean | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/status/shutdown': {
    readonly forceStop?: boolean | undefined;
    readonly keepActive?: boolean | undefined;
    readonly node: string;
    readonly skiplock?: boolean | undefined;
    readonly timeout?: number | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/status/start': {
    readonly 'force-cpu'?: string | undefined;
    readonly machine?: QemuMachine | string | undefined;
    readonly migratedfrom?: string | undefined;
    readonly migration_network?: string | undefined;
    readonly migration_type?: 'secure' | 'insecure' | undefined;
    readonly 'nets-host-mtu'?: string | undefined;
    readonly node: string;
    readonly skiplock?: boolean | undefined;
    readonly stateuri?: string | undefined;
    readonly targetstorage?: string | undefined;
    readonly timeout?: number | undefined;
    readonly vmid: number;
    readonly 'with-conntrack-state'?: boolean | undefined;
  };
  'POST /nodes/{node}/qemu/{vmid}/status/stop': {
    readonly keepActive?: boolean | undefined;
    readonly migratedfrom?: string | undefined;
    readonly node: string;
    readonly 'overrule-shutdown'?: boolean | undefined;
    readonly skiplock?: boolean | undefined;
    readonly timeout?: number | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/status/suspend': {
    readonly node: string;
    readonly skiplock?: boolean | undefined;
    readonly statestorage?: string | undefined;
    readonly todisk?: boolean | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/template': {
    readonly disk?: 'ide0' | 'ide1' | 'ide2' | 'ide3' | `scsi${number}` | `virtio${number}` | 'sata0' | 'sata1' | 'sata2' | 'sata3' | 'sata4' | 'sata5' | 'efidisk0' | 'tpmstate0' | undefined;
    readonly node: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/termproxy': {
    readonly node: string;
    readonly serial?: 'serial0' | 'serial1' | 'serial2' | 'serial3' | undefined;
    readonly vmid: number;
  };
  'POST /nodes/{node}/qemu/{vmid}/vncproxy': {
    readonly 'generate-password'?: boolean | undefined;
    readonly node: string;
    readonly vmid: number;
    readonly websocket?: boolean | undefined;
  };
  'POST /nodes/{node}/storage/{storage}/content': {
    readonly filename: string;
    readonly format?: 'raw' | 'qcow2' | 'subvol' | 'vmdk' | undefined;
    readonly node: string;
    readonly size: string;
    readonly storage: string;
    readonly vmid: number;
  };
  'POST /nodes/{node}/storage/{storage}/content/{volume}': {
    readonly node: string;
    readonly storage?: string | undefined;
    readonly target: string;
    readonly target_node?: string | undefined;
    readonly volume: string;
  };
  'POST /nodes/{node}/storage/{storage}/download-url': {
    readonly checksum?: string | undefined;
    readonly 'checksum-algorithm'?: 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | undefined;
    readonly compression?: string | undefined;
    readonly content: 'iso' | 'vztmpl' | 'import';
    readonly filename: string;
    readonly node: string;
    readonly storage: string;
    readonly url: string;
    readonly 'verify-certificates'?: boolean | undefined;
  };
  'POST /nodes/{node}/storage/{storage}/oci-registry-pull': {
    readonly filename?: string | undefined;
    readonly node: string;
    readonly reference: string;
    readonly storage: string;
  };
  'POST /nodes/{node}/storage/{storage}/upload': {
    readonly checksum?: string | undefined;
    readonly 'checksum-algorithm'?: 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | undefined;
    readonly content: 'iso' | 'vztmpl' | 'import';
    readonly filename: string;
    readonly node: string;
    readonly storage: string;
    readonly tmpfilename?: string | undefined;
  };
  'POST /pools': {
    readonly comment?: string | undefined;
    readonly poolid: string;
  };
  'PUT /cluster/ha/groups/{group}': {
    readonly comment?: string | undefined;
    readonly delete?: string | undefined;
    readonly digest?: string | undefined;
    readonly group: string;
    readonly nodes?: string | undefined;
    readonly nofailback?: boolean | undefined;
    readonly restricted?: boolean | undefined;
  };
  'PUT /cluster/ha/resources/{sid}': {
    readonly comment?: string | undefined;
    readonly delete?: string | undefined;
    readonly digest?: string | undefined;
    readonly failback?: boolean | undefined;
    readonly group?: string | undefined;
    readonly max_relocate?: number | undefined;
    readonly max_restart?: number | undefined;
    readonly sid: string;
    readonly state?: 'started' | 'stopped' | 'enabled' | 'disabled' | 'ignored' | undefined;
  };
  'PUT /cluster/ha/rules/{rule}': {
    readonly affinity?: 'positive' | 'negative' | undefined;
    readonly comment?: string | undefined;
    readonly delete?: string | undefined;
    readonly digest?: string | undefined;
    readonly disable?: boolean | undefined;
    readonly nodes?: string | undefined;
    readonly resources?: string | undefined;
    readonly rule: string;
    readonly strict?: boolean | undefined;
    readonly type: 'node-affinity' | 'resource-affinity';
  };
  'PUT /nodes/{node}/lxc/{vmid}/config': {
    readonly arch?: 'amd64' | 'i386' | 'arm64' | 'armhf' | 'riscv32' | 'riscv64' | undefined;
    readonly cmode?: 'shell' | 'console' | 'tty' | undefined;
    readonly console?: boolean | undefined;
    readonly cores?: number | undefined;
    readonly cpulimit?: number | undefined;
    readonly cpuunits?: number | undefined;
    readonly debug?: boolean | undefined;
    readonly delete?: string | undefined;
    readonly description?: string | undefined;
    readonly [name: `dev${number}`]: LxcDev | string | undefined;
    readonly digest?: string | undefined;
    readonly entrypoint?: string | undefined;
    readonly env?: string | undefined;
    readonly features?: LxcFeatures | string | undefined;
    readonly hookscript?: string | undefined;
    readonly hostname?: string | undefined;
    readonly lock?: 'backup' | 'create' | 'destroyed' | 'disk' | 'fstrim' | 'migrate' | 'mounted' | 'rollback' | 'snapshot' | 'snapshot-delete' | undefined;
    readonly memory?: number | undefined;
    readonly [name: `mp${number}`]: LxcMp | string | undefined;
    readonly nameserver?: string | undefined;
    readonly [name: `net${number}`]: LxcNet | string | undefined;
    readonly node: string;
    readonly onboot?: boolean | undefined;
    readonly ostype?: 'debian' | 'devuan' | 'ubuntu' | 'centos' | 'fedora' | 'opensuse' | 'archlinux' | 'alpine' | 'gentoo' | 'nixos' | 'unmanaged' | undefined;
    readonly protection?: boolean | undefined;
    readonly revert?: string | undefined;
    readonly rootfs?: LxcRootfs | string | undefined;
    readonly searchdomain?: string | undefined;
    readonly startup?: PveStartupOrder | string | number | undefined;
    readonly swap?: number | undefined;
    readonly tags?: string | undefined;
    readonly template?: boolean | undefined;
    readonly timezone?: string | undefined;
    readonly tty?: number | undefined;
    readonly unprivileged?: boolean | undefined;
    readonly [name: `unused${number}`]: LxcUnused | string | undefined;
    readonly vmid: number;
  };
  'PUT /nodes/{node}/lxc/{vmid}/resize': {
    readonly digest?: string | undefined;
    readonly disk: 'rootfs' | `mp${number}`;
    readonly node: string;
    readonly size: string;
    readonly vmid: number;
  };
  'PUT /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config': {
    readonly description?: string | undefined;
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'PUT /nodes/{node}/qemu/{vmid}/cloudinit': {
    readonly node: string;
    readonly vmid: number;
  };
  'PUT /nodes/{node}/qemu/{vmid}/config': {
    readonly acpi?: boolean | undefined;
    readonly affinity?: string | undefined;
    readonly agent?: QemuAgent | string | boolean | undefined;
    readonly 'allow-ksm'?: boolean | undefined;
    readonly 'amd-sev'?: PveSevFmt | string | undefined;
    readonly arch?: 'x86_64' | 'aarch64' | undefined;
    readonly args?: string | undefined;
    readonly audio0?: QemuAudio0 | string | undefined;
    readonly autostart?: boolean | undefined;
    readonly balloon?: number | undefined;
    readonly bios?: 'seabios' | 'ovmf' | undefined;
    readonly boot?: PveBoot | string | undefined;
    readonly bootdisk?: string | undefined;
    readonly cdrom?: string | undefined;
    readonly cicustom?: PveCicustom | string | undefined;
    readonly cipassword?: string | undefined;
    readonly citype?: 'configdrive2' | 'nocloud' | 'opennebula' | undefined;
    readonly ciupgrade?: boolean | undefined;
    readonly ciuser?: string | undefined;
    readonly cores?: number | undefined;
    readonly cpu?: PveCpuConf | string | undefined;
    readonly cpulimit?: number | undefined;
    readonly cpuunits?: number | undefined;
    readonly delete?: string | undefined;
    readonly description?: string | undefined;
    readonly digest?: string | undefined;
    readonly efidisk0?: QemuEfidisk0 | string | undefined;
    readonly force?: boolean | undefined;
    readonly freeze?: boolean | undefined;
    readonly hookscript?: string | undefined;
    readonly [name: `hostpci${number}`]: PveHostpci | string | undefined;
    readonly hotplug?: string | undefined;
    readonly hugepages?: 'any' | '2' | '1024' | undefined;
    readonly [name: `ide${number}`]: QemuIde | string | undefined;
    readonly 'intel-tdx'?: PveTdxFmt | string | undefined;
    readonly [name: `ipconfig${number}`]: PveIpconfig | string | undefined;
    readonly ivshmem?: QemuIvshmem | string | undefined;
    readonly keephugepages?: boolean | undefined;
    readonly keyboard?: 'de' | 'de-ch' | 'da' | 'en-gb' | 'en-us' | 'es' | 'fi' | 'fr' | 'fr-be' | 'fr-ca' | 'fr-ch' | 'hu' | 'is' | 'it' | 'ja' | 'lt' | 'mk' | 'nl' | 'no' | 'pl' | 'pt' | 'pt-br' | 'sv' | 'sl' | 'tr' | undefined;
    readonly kvm?: boolean | undefined;
    readonly localtime?: boolean | undefined;
    readonly lock?: 'backup' | 'clone' | 'create' | 'migrate' | 'rollback' | 'snapshot' | 'snapshot-delete' | 'suspending' | 'suspended' | undefined;
    readonly machine?: QemuMachine | string | undefined;
    readonly memory?: QemuMemory | string | number | undefined;
    readonly migrate_downtime?: number | undefined;
    readonly migrate_speed?: number | undefined;
    readonly name?: string | undefined;
    readonly nameserver?: string | undefined;
    readonly [name: `net${number}`]: QemuNet | string | undefined;
    readonly node: string;
    readonly numa?: boolean | undefined;
    readonly [name: `numa${number}`]: QemuNuma | string | undefined;
    readonly onboot?: boolean | undefined;
    readonly ostype?: 'other' | 'wxp' | 'w2k' | 'w2k3' | 'w2k8' | 'wvista' | 'win7' | 'win8' | 'win10' | 'win11' | 'l24' | 'l26' | 'solaris' | undefined;
    readonly [name: `parallel${number}`]: string | undefined;
    readonly protection?: boolean | undefined;
    readonly reboot?: boolean | undefined;
    readonly revert?: string | undefined;
    readonly rng0?: PveRng | string | undefined;
    readonly [name: `sata${number}`]: QemuSata | string | undefined;
    readonly [name: `scsi${number}`]: QemuScsi | string | undefined;
    readonly scsihw?: 'lsi' | 'lsi53c810' | 'virtio-scsi-pci' | 'virtio-scsi-single' | 'megasas' | 'pvscsi' | undefined;
    readonly searchdomain?: string | undefined;
    readonly [name: `serial${number}`]: string | undefined;
    readonly shares?: number | undefined;
    readonly skiplock?: boolean | undefined;
    readonly smbios1?: PveSmbios1 | string | undefined;
    readonly smp?: number | undefined;
    readonly sockets?: number | undefined;
    readonly spice_enhancements?: QemuSpiceEnhancements | string | undefined;
    readonly sshkeys?: string | undefined;
    readonly startdate?: string | undefined;
    readonly startup?: PveStartupOrder | string | number | undefined;
    readonly tablet?: boolean | undefined;
    readonly tags?: string | undefined;
    readonly tdf?: boolean | undefined;
    readonly template?: boolean | undefined;
    readonly tpmstate0?: QemuTpmstate0 | string | undefined;
    readonly [name: `unused${number}`]: QemuUnused | string | undefined;
    readonly [name: `usb${number}`]: QemuUsb | string | undefined;
    readonly vcpus?: number | undefined;
    readonly vga?: QemuVga | string | undefined;
    readonly [name: `virtio${number}`]: QemuVirtio | string | undefined;
    readonly [name: `virtiofs${number}`]: QemuVirtiofs | string | undefined;
    readonly vmgenid?: string | undefined;
    readonly vmid: number;
    readonly vmstatestorage?: string | undefined;
    readonly watchdog?: PveWatchdog | string | undefined;
  };
  'PUT /nodes/{node}/qemu/{vmid}/resize': {
    readonly digest?: string | undefined;
    readonly disk: 'ide0' | 'ide1' | 'ide2' | 'ide3' | `scsi${number}` | `virtio${number}` | 'sata0' | 'sata1' | 'sata2' | 'sata3' | 'sata4' | 'sata5' | 'efidisk0' | 'tpmstate0';
    readonly node: string;
    readonly size: string;
    readonly skiplock?: boolean | undefined;
    readonly vmid: number;
  };
  'PUT /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config': {
    readonly description?: string | undefined;
    readonly node: string;
    readonly snapname: string;
    readonly vmid: number;
  };
  'PUT /nodes/{node}/qemu/{vmid}/unlink': {
    readonly force?: boolean | undefined;
    readonly idlist: string;
    readonly node: string;
    readonly vmid: number;
  };
  'PUT /nodes/{node}/storage/{storage}/content/{volume}': {
    readonly node: string;
    readonly notes?: string | undefined;
    readonly protected?: boolean | undefined;
    readonly storage?: string | undefined;
    readonly volume: string;
  };
  'PUT /pools': {
    readonly 'allow-move'?: boolean | undefined;
    readonly comment?: string | undefined;
    readonly delete?: boolean | undefined;
    readonly poolid: string;
    readonly storage?: string | undefined;
    readonly vms?: string | undefined;
  };
}
