/** All that the API does with containers. */
import { cloneRoutes } from './clone.ts';
import { lxcPowerRoutes } from './lxc-power.ts';
import { lxcReadRoutes } from './lxc-reads.ts';
import { lxcSettingsRoutes } from './lxc-settings.ts';
import { migrateRoutes } from './migrate.ts';
import type { Routes } from './route.ts';
import { snapshotRoutes } from './snapshots.ts';

export const lxcRoutes: Routes = {
  ...lxcReadRoutes,
  ...lxcPowerRoutes,
  ...lxcSettingsRoutes,
  ...snapshotRoutes('lxc'),
  ...cloneRoutes('lxc'),
  ...migrateRoutes('lxc'),
};
