/** All that the API does with guests, and what watches over them. */
import { backupRoutes } from './backup.ts';
import { haRoutes } from './ha.ts';
import { lxcRoutes } from './lxc-routes.ts';
import { qemuRoutes } from './qemu-routes.ts';
import type { Routes } from './route.ts';

export const guestRoutes: Routes = { ...lxcRoutes, ...qemuRoutes, ...backupRoutes, ...haRoutes };
