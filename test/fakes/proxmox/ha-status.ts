/** What HA tells of itself: cluster/ha/status/current and manager_status. */
import type { HaEngine, HaService } from './ha-engine.ts';
import { haOf } from './ha-engine.ts';
import type { Call } from './route.ts';
import type { HaResource, World } from './world.ts';

type Row = Record<string, unknown>;

const lostAfterMs = 30_000;

/** "Mon Nov 23 09:08:11 2026" */
export function perlTime(atMs: number): string {
  const [day = '', date = '', month = '', year = '', time = ''] = new Date(atMs).toUTCString().split(/,? /);
  return `${day} ${month} ${String(Number(date)).padStart(2)} ${time} ${year}`;
}

export function currentStatus({ world, endpoint }: Call): Row[] {
  const engine = haOf(world);
  const quorate = world.quorate();
  const quorum = {
    id: 'quorum',
    type: 'quorum',
    node: endpoint,
    quorate: quorate ? 1 : 0,
    status: quorate ? 'OK' : `No quorum on node '${endpoint}'!`,
  };
  const services = [...new Set([...world.ha.resources.keys(), ...engine.services.keys()])];
  return [
    quorum,
    ...masterRows(world, engine),
    ...fencingRows(world, engine, endpoint),
    ...lrmRows(world, engine),
    ...services.sort().map((sid) => serviceRow(world, engine, sid)),
  ];
}

const timeOf = (seenMs: number): number => Math.floor(seenMs / 1000);
const lost = (world: World, seenMs: number): boolean =>
  world.clock.nowMs() - seenMs > lostAfterMs * world.pace;

function masterRows(world: World, engine: HaEngine): Row[] {
  const node = engine.master();
  if (node === undefined) return [];
  const seenMs = engine.masterSeenMs();
  const state = lost(world, seenMs) ? 'old timestamp - dead?' : 'active';
  const status = `${node} (${state}, ${perlTime(seenMs)})`;
  return [{ id: 'master', type: 'master', node, status, timestamp: timeOf(seenMs) }];
}

function fencingRows(world: World, engine: HaEngine, node: string): Row[] {
  if (world.major === 8) return [];
  const armed = engine.master() !== undefined;
  return [
    {
      id: 'fencing',
      type: 'fencing',
      node,
      'armed-state': armed ? 'armed' : 'standby',
      status: armed ? 'armed (CRM watchdog active)' : 'standby (CRM watchdog standby)',
    },
  ];
}

function lrmRows(world: World, engine: HaEngine): Row[] {
  if (engine.master() === undefined) return [];
  return [...world.nodes.keys()].map((node) => {
    const seenMs = engine.nodeSeenMs(node);
    const active = engine.active(node);
    const watchdog = world.major === 8 ? '' : `, watchdog ${active ? 'active' : 'standby'}`;
    const state = lost(world, seenMs) ? 'old timestamp - dead?' : `${lrmState(engine, node)}${watchdog}`;
    const status = `${node} (${state}, ${perlTime(seenMs)})`;
    return { id: `lrm:${node}`, type: 'lrm', node, status, timestamp: timeOf(seenMs) };
  });
}

/** It needs its lock once it is to do something. */
function lrmState(engine: HaEngine, node: string): string {
  if (engine.active(node)) return 'active';
  const wanted = [...engine.services.values()].some(
    (service) => service.node === node && service.crm !== undefined,
  );
  return wanted ? 'wait_for_agent_lock' : 'idle';
}

/** The state that people are told, which is not quite the manager's. */
export function shownState(resource: HaResource | undefined, service: HaService | undefined): string {
  if (resource === undefined) return 'deleting';
  if (resource.state === 'ignored') return 'ignored';
  const crm = service?.crm;
  if (crm === undefined) return 'queued';
  if (crm === 'started') return service?.running === true ? 'started' : 'starting';
  if (crm !== 'stopped') return crm;
  if (resource.state === 'started' || resource.state === 'enabled') return 'starting';
  return resource.state === 'disabled' ? 'disabled' : 'stopped';
}

function serviceRow(world: World, engine: HaEngine, sid: string): Row {
  const resource = world.ha.resources.get(sid);
  const service = engine.services.get(sid);
  const node = service?.node ?? world.guests.get(Number(sid.slice(3)))?.node ?? '';
  const state = shownState(resource, service);
  const row: Row = {
    id: `service:${sid}`,
    type: 'service',
    sid,
    node,
    state,
    status: `${sid} (${node}, ${state})`,
  };
  if (service?.crm !== undefined) row['crm_state'] = service.crm;
  if (resource === undefined) return row;
  row['request_state'] = resource.state;
  row['max_restart'] = Number(resource.fields['max_restart'] ?? 1);
  row['max_relocate'] = Number(resource.fields['max_relocate'] ?? 1);
  if (world.major > 8) row['failback'] = Number(resource.fields['failback'] ?? 1);
  for (const key of ['comment', 'group'])
    if (resource.fields[key] !== undefined) row[key] = resource.fields[key];
  return row;
}

export function managerStatus({ world, endpoint }: Call): Row {
  const engine = haOf(world);
  const quorum = { node: endpoint, quorate: world.quorate() ? '1' : '0' };
  const master = engine.master();
  if (master === undefined) return { manager_status: { node_status: {} }, quorum };
  const names = [...world.nodes.values()];
  const states = names.map(({ name, alive, cut }) => [name, alive && !cut ? 'online' : 'unknown'] as const);
  const services = [...engine.services.values()].map(
    ({ sid, node, crm }) => [sid, { node, state: crm }] as const,
  );
  const lrm = names.map(({ name }) => {
    const state = engine.active(name) ? 'active' : 'wait_for_agent_lock';
    return [
      name,
      { mode: 'active', state, results: {}, timestamp: timeOf(engine.nodeSeenMs(name)) },
    ] as const;
  });
  return {
    manager_status: {
      master_node: master,
      node_status: Object.fromEntries(states),
      service_status: Object.fromEntries(services),
      timestamp: timeOf(engine.masterSeenMs()),
    },
    lrm_status: Object.fromEntries(lrm),
    quorum,
  };
}
