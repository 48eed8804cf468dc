export { probeIdmap } from './idmap-probe.ts';
export { createDirectoryDriver } from './directory.ts';
export { createZfsDriver } from './zfs.ts';
export { openPools } from './open-pools.ts';
