/** What should be of one copy. */

import type { VolumeId } from './ids.ts';

/** Zero means no limit, and reserves nothing. */
export interface Resources {
  readonly cpuMillicores: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  /** Never zero once checked: 4096 where the request left it out. */
  readonly pids: number;
}

export type NetworkMode = 'none' | 'host' | 'bridged';
export type RestartPolicy = 'never' | 'on-failure' | 'always';

export interface Restart {
  readonly policy: RestartPolicy;
  /** Zero means no limit. */
  readonly maxAttempts: number;
}

/** Asks for one data volume for each copy; the volume outlives its instance. */
export interface VolumeClaim {
  readonly name: string;
  /** Absolute, inside. */
  readonly mountPath: string;
  /** Zero: no quota. */
  readonly sizeMib: number;
  /** Empty: the node's default. */
  readonly pool: string;
  readonly readOnly: boolean;
  /** Stays when the workload is deleted. */
  readonly keep: boolean;
}

/** How many of each are kept; zero: none are taken. */
export interface SnapshotSchedule {
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
}

export interface NetworkUse {
  readonly network: string;
  /** Copies take them in this order. Empty: any that is free. */
  readonly addresses: readonly string[];
}

export interface PublishedPort {
  /** Zero in a spec: chosen with the node. */
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: 'tcp' | 'udp';
  /** Empty: all addresses of the node. */
  readonly hostAddress: string;
}

export interface Dns {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

export interface Security {
  readonly privileged: boolean;
  readonly nesting: boolean;
  /** Host ids that no other guest has, also where that costs a copy. */
  readonly ownIdRange: boolean;
  /** "CAP_NET_ADMIN". */
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
}

/** How the root and the data volumes of a virtual machine are attached. */
export interface VmDisks {
  /** Of the root; data volumes are always on scsi. */
  readonly bus: 'scsi' | 'virtio' | 'sata' | 'ide';
  /** Empty: the cluster's default. */
  readonly cache: '' | 'none' | 'writethrough' | 'writeback' | 'directsync' | 'unsafe';
  readonly discard: boolean;
  readonly ssd: boolean;
  readonly iothread: boolean;
}

/** Who may log in. Addresses and name servers are the instance's own. */
export interface CloudInit {
  /** Empty: the image's own. */
  readonly user: string;
  /** Public ones, as in authorized_keys. */
  readonly sshKeys: readonly string[];
}

/** About the machine of a guest that is a virtual one. */
export interface VmOptions {
  /** "host". Empty: the cluster's default. */
  readonly cpuType: string;
  /** Zero: one. */
  readonly sockets: number;
  /** Of each socket. Zero: resources.cpu, rounded up. */
  readonly cores: number;
  /** What its memory may shrink to. Zero: it does not shrink. */
  readonly balloonMib: number;
  readonly numa: boolean;
  /** Runs on the processor itself; otherwise it is emulated, which is slow. */
  readonly kvm: boolean;
  readonly bios: 'seabios' | 'ovmf';
  /** "q35". Empty: the cluster's default. */
  readonly machine: string;
  readonly tpm: boolean;
  /** The guest agent is asked. */
  readonly agent: boolean;
  readonly serial: boolean;
  /** "std". Empty: the cluster's default. */
  readonly display: string;
  /** "win11". Empty: "l26". */
  readonly osType: string;
  /** How a template is copied. */
  readonly clone: 'full' | 'linked';
  /** Left out: there is no drive for it. */
  readonly cloudInit?: CloudInit;
  readonly disk: VmDisks;
}

/** What a container of a cluster may do beyond the default. */
export interface ContainerFeatures {
  readonly keyctl: boolean;
  readonly fuse: boolean;
  /** "nfs". */
  readonly mount: readonly string[];
}

/** About a guest in its cluster. */
export interface ClusterOptions {
  /** Empty: none. */
  readonly pool: string;
  readonly tags: readonly string[];
  /** For root in a container. Public ones, as in authorized_keys. */
  readonly sshKeys: readonly string[];
  readonly features: ContainerFeatures;
  /** Its node starts it when it boots, unless it is never to be started again. */
  readonly onBoot: boolean;
  /** The cluster refuses to remove it. */
  readonly protection: boolean;
  /** How a template is copied; left out: in full, unless VmOptions says otherwise. */
  readonly clone?: 'linked';
}

/** The part of a spec about storage, network and rights; the same for every copy of a workload. */
export interface GuestConfig {
  /** Empty: the node's default. */
  readonly rootPool: string;
  readonly volumes: readonly VolumeClaim[];
  readonly snapshots: SnapshotSchedule;
  /** Empty unless the mode is 'bridged'; eth0, eth1 in this order. */
  readonly networks: readonly NetworkUse[];
  readonly ports: readonly PublishedPort[];
  readonly dns: Dns;
  /** "/dev/fuse". */
  readonly devices: readonly string[];
  readonly security: Security;
  /** Lower starts first after a reboot of the node. */
  readonly startOrder: number;
  /** From a short list. */
  readonly lxcKeys: Readonly<Record<string, string>>;
  /** For runtimes of virtual machines. Left out: all as it is by itself. */
  readonly vm?: VmOptions;
  /** For runtimes of clusters. Left out: all as it is by itself. */
  readonly cluster?: ClusterOptions;
}

/** One interface of a guest, ready to be configured. */
export interface Attachment {
  readonly network: string;
  readonly bridge: string;
  /** Drover makes the bridge where it is missing; otherwise it must be there. */
  readonly managedBridge: boolean;
  /** "eth0". */
  readonly interface: string;
  readonly mac: string;
  /** "10.20.0.5/24"; empty where the node gives them out. */
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  /** Zero: the bridge's own. */
  readonly mtu: number;
  /** Zero: none. */
  readonly vlan: number;
  readonly masquerade: boolean;
  /** The node itself gives out an address of this subnet. Empty: it does not. */
  readonly nodePrivateSubnet: string;
  readonly routes: readonly Route[];
  /**
   * The network's, where it has some. The control plane's own: an order says it as the spec's, where that
   * says nothing.
   */
  readonly dns?: Dns;
}

export interface Route {
  readonly destination: string;
  readonly via: string;
}

/** What the control plane reserved for one instance when it chose the node; kept for the instance's life. */
export interface Assignment {
  readonly attachments: readonly Attachment[];
  /** One for each claim. */
  readonly volumes: readonly { readonly name: string; readonly volumeId: VolumeId }[];
  /** Every host port decided. */
  readonly ports: readonly PublishedPort[];
}

/** What every copy of a workload and the workload itself say alike. */
export interface CopySpec extends GuestConfig {
  /** Empty: the image's own. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly resources: Resources;
  readonly network: NetworkMode;
  readonly restart: Restart;
  readonly stopGraceMs: number;
  /** Empty: the image's own. */
  readonly user: string;
  /** Absolute, or empty: the image's own. */
  readonly workingDir: string;
  /** Empty: the node's default. */
  readonly imageCredential: string;
}

/** All that a node needs to make one instance run; the body of an ensure order. */
export interface InstanceSpec extends CopySpec {
  readonly runtime: string;
  /** Always with a digest. */
  readonly image: string;
  /** "web-x7k2p"; a DNS label. */
  readonly displayName: string;
  readonly workload: string;
  /** Its own part. */
  readonly assigned: Assignment;
}
