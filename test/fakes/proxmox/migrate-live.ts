/** What a live migration tells while it runs: the time since the line before, and the line. */
import type { Guest } from './world.ts';

export const liveLines = (
  { vmid }: Guest,
  target: string,
): readonly (readonly [afterMs: number, line: string])[] => [
  [0, `starting VM ${vmid} on remote node '${target}'`],
  [2000, 'start remote tunnel'],
  [1000, 'ssh tunnel ver 1'],
  [0, `starting online/live migration on unix:/run/qemu-server/${vmid}.migrate`],
  [0, 'set migration capabilities'],
  [0, 'migration downtime limit: 100 ms'],
  [0, 'migration cachesize: 16.0 MiB'],
  [0, 'set migration parameters'],
  [0, `start migrate command to unix:/run/qemu-server/${vmid}.migrate`],
  [1000, 'average migration speed: 144.8 MiB/s - downtime 42 ms'],
  [0, 'migration completed, transferred 2.7 MiB VM-state'],
  [0, 'migration status: completed'],
];
