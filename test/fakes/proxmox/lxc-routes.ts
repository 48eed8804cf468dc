/** All that the API does with containers. */
import { lxcPowerRoutes } from './lxc-power.ts';
import { lxcReadRoutes } from './lxc-reads.ts';
import { lxcSettingsRoutes } from './lxc-settings.ts';
import type { Routes } from './route.ts';

export const lxcRoutes: Routes = { ...lxcReadRoutes, ...lxcPowerRoutes, ...lxcSettingsRoutes };
