/** All that the API does with guests. */
import { backupRoutes } from './backup.ts';
import { lxcRoutes } from './lxc-routes.ts';
import { qemuRoutes } from './qemu-routes.ts';
import type { Routes } from './route.ts';

export const guestRoutes: Routes = { ...lxcRoutes, ...qemuRoutes, ...backupRoutes };
