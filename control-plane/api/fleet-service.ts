import type { FleetServiceService } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { apply, remove, scale } from './fleet/apply.ts';
import { listEvents } from './fleet/events.ts';
import { exec, openConsole } from './fleet/exec.ts';
import {
  freezeInstance,
  getInstance,
  listInstances,
  pauseInstance,
  resumeInstance,
  signalInstance,
  thawInstance,
} from './fleet/instances.ts';
import { streamLogs } from './fleet/logs.ts';
import { getNetwork, listNetworks, removeNetwork } from './fleet/networks.ts';
import { explainInstance, plan } from './fleet/plan.ts';
import { explainPortability } from './fleet/portability.ts';
import { getRouting, putRouting } from './fleet/routing.ts';
import { createSnapshot, listSnapshots, removeSnapshot, rollbackSnapshot } from './fleet/snapshots.ts';
import { streamStats } from './fleet/stats.ts';
import { listVolumes, removeVolume } from './fleet/volumes.ts';
import { watch } from './fleet/watch.ts';
import { getFleet, getWorkload, listWorkloads } from './fleet/workloads.ts';
import type { HandlerContext, HandlerDeps } from './handler.ts';

/** What people and programs ask about workloads and their instances; each promise is in the proto. */
export function fleetService(deps: HandlerDeps): Handlers<typeof FleetServiceService, HandlerContext> {
  return {
    getFleet: (_request, context) => getFleet(context, deps),
    apply: (request, context) => apply(request, context, deps),
    plan: (request) => plan(request, deps),
    getWorkload: (request) => getWorkload(request, deps),
    listWorkloads: (request) => listWorkloads(request, deps),
    scaleWorkload: (request, context) => scale(request, context, deps),
    deleteWorkload: (request, context) => remove(request, context, deps),
    getInstance: (request) => getInstance(request, deps),
    listInstances: (request) => listInstances(request, deps),
    explainInstance: (request) => explainInstance(request, deps),
    explainPortability: (request) => explainPortability(request, deps),
    signalInstance: (request, context) => signalInstance(request, context, deps),
    exec: (requests, context) => exec(requests, context, deps),
    streamLogs: (request, context) => streamLogs(request, context, deps),
    listNetworks: (request) => listNetworks(request, deps),
    getNetwork: (request) => getNetwork(request, deps),
    removeNetwork: (request, context) => removeNetwork(request, context, deps),
    watch: (request, context) => watch(request, context, deps),
    listEvents: (request, context) => listEvents(request, context, deps),
    listVolumes: (request) => listVolumes(request, deps),
    removeVolume: (request, context) => removeVolume(request, context, deps),
    console: (requests, context) => openConsole(requests, context, deps),
    pauseInstance: (request, context) => pauseInstance(request, context, deps),
    resumeInstance: (request, context) => resumeInstance(request, context, deps),
    freezeInstance: (request, context) => freezeInstance(request, context, deps),
    thawInstance: (request, context) => thawInstance(request, context, deps),
    streamStats: (request, context) => streamStats(request, context, deps),
    createSnapshot: (request, context) => createSnapshot(request, context, deps),
    listSnapshots: (request, context) => listSnapshots(request, context, deps),
    rollbackSnapshot: (request, context) => rollbackSnapshot(request, context, deps),
    removeSnapshot: (request, context) => removeSnapshot(request, context, deps),
    getRouting: () => getRouting(deps),
    putRouting: (request, context) => putRouting(request, context, deps),
  };
}
