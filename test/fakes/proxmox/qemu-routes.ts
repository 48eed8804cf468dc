/** All that the API does with virtual machines. */
import { agentRoutes } from './agent.ts';
import { cloneRoutes } from './clone.ts';
import { migrateRoutes } from './migrate.ts';
import { qemuPowerRoutes } from './qemu-power.ts';
import { qemuReadRoutes } from './qemu-reads.ts';
import { qemuSettingsRoutes } from './qemu-settings.ts';
import { qemuVolumeRoutes } from './qemu-volumes.ts';
import type { Routes } from './route.ts';
import { snapshotRoutes } from './snapshots.ts';

export const qemuRoutes: Routes = {
  ...qemuReadRoutes,
  ...qemuPowerRoutes,
  ...qemuSettingsRoutes,
  ...qemuVolumeRoutes,
  ...snapshotRoutes('qemu'),
  ...cloneRoutes('qemu'),
  ...migrateRoutes('qemu'),
  ...agentRoutes,
};
