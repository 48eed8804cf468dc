import type { Configuration } from './guest-kind.ts';
import { storageOfVolume } from './lxc-limits.ts';
import { parseProperties } from './properties.ts';

const diskKey = /^(?:rootfs|(?:mp|scsi|virtio|sata|ide|efidisk|tpmstate|unused)\d+)$/;

/** Storages that a guest has something on, discs that are put in among it. */
export const storagesIn = (
  config: Configuration,
  { withUnused }: { readonly withUnused: boolean },
): ReadonlySet<string> =>
  new Set(
    Object.entries(config)
      .filter(([key]) => diskKey.test(key) && (withUnused || !key.startsWith('unused')))
      .map(([, value]) => {
        const properties = parseProperties(value, 'volume');
        return storageOfVolume(properties.get('volume') ?? properties.get('file'));
      })
      .filter((storage) => storage !== ''),
  );
