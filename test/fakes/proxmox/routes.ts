/** All methods that the server for tests serves. */
import { accessRoutes } from './access.ts';
import { userRoutes } from './access-users.ts';
import { clusterRoutes } from './cluster.ts';
import { guestRoutes } from './guest-routes.ts';
import { nodeRoutes } from './nodes.ts';
import { poolRoutes } from './pools.ts';
import type { Routes } from './route.ts';
import { storageRoutes } from './storage.ts';
import { taskRoutes } from './tasks.ts';
import type { Tickets } from './tickets.ts';

export const allRoutes = (tickets: Tickets): Routes => ({
  ...accessRoutes(tickets),
  ...userRoutes,
  ...clusterRoutes,
  ...guestRoutes,
  ...nodeRoutes,
  ...poolRoutes,
  ...storageRoutes,
  ...taskRoutes,
});
