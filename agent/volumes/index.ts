export { probeIdmap } from './idmap-probe.ts';
export { createDirectoryDriver } from './directory.ts';
export { createZfsDriver } from './zfs.ts';
