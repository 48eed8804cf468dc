import type { Configuration } from './guest-kind.ts';
import { parseProperties, type Properties } from './properties.ts';

/** One disk of a configuration. */
export interface GuestDisk {
  readonly key: string;
  /** Empty: it is on none. */
  readonly storage: string;
  /** A disc that is put in, and that is no part of the guest. */
  readonly isDisc: boolean;
  /** Its guest once had it. */
  readonly isUnused: boolean;
}

const diskKey = /^(?:rootfs|(?:mp|scsi|virtio|sata|ide|efidisk|tpmstate|unused)\d+)$/;

/** All disks and drives of a guest, those that it once had among them. */
export const disksIn = (config: Configuration): GuestDisk[] =>
  Object.entries(config)
    .filter(([key]) => diskKey.test(key))
    .map(([key, value]) => {
      const properties = parseProperties(value, 'volume');
      const volume = volumeOf(properties);
      const isDisc = properties.get('media') === 'cdrom' && !isCloudInitVolume(volume);
      return { key, storage: storageOfVolume(volume), isDisc, isUnused: key.startsWith('unused') };
    });

/** Each once. */
export const storagesOf = (disks: readonly GuestDisk[]): string[] => [
  ...new Set(disks.map(({ storage }) => storage).filter((storage) => storage !== '')),
];

/** Of what it has now: discs that are put in count, though nobody copies them. */
export const storagesInUse = (config: Configuration): string[] =>
  storagesOf(disksIn(config).filter(({ isUnused }) => !isUnused));

/** Of one disk of a configuration; empty: it is on none, or there is none. */
export const storageOfDisk = (value: unknown): string =>
  storageOfVolume(volumeOf(parseProperties(value, 'volume')));

const volumeOf = (properties: Properties): string => properties.get('volume') ?? properties.get('file') ?? '';

/** "local" of "local:101/vm-101-disk-0.raw"; empty for what is on no storage. */
export const storageOfVolume = (volid = ''): string =>
  /^[^/:]+:/.test(volid) ? volid.slice(0, volid.indexOf(':')) : '';

/** That the cluster fills with what cloud-init reads. */
export const isCloudInitVolume = (volid: string): boolean =>
  /(?:^|[/:])(?:vm-\d+-)?cloudinit(?:\.|$)/.test(volid);
