/**
 * The cluster's and the nodes' resource managers in virtual time. The manager looks every ten seconds and decides;
 * the node's one acts some two seconds later; what it did shows at the manager's next look.
 */
import { begin, halt } from './guest-life.ts';
import { blockingOn, companionsOf, homeOf, nodesOf } from './ha-placement.ts';
import { moveConfig } from './migrate-move.ts';
import { rootCaller } from './caller.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, HaResource, World } from './world.ts';

export interface HaService {
  readonly sid: string;
  node: string;
  /** The manager's state; undefined until it has seen the resource. */
  crm: string | undefined;
  /** The node's manager has done what `crm` asks. */
  done: boolean;
  /** It was seen to run since it was last asked to. */
  running: boolean;
  busy: boolean;
  command:
    | { readonly kind: 'migrate' | 'relocate'; readonly target?: string }
    | { readonly kind: 'stop'; readonly graceMs: number }
    | undefined;
  /** Of the last stop; one that takes longer is an error, and zero ends it. */
  graceMs: number;
  /** Rounds of the node's manager to let pass: it takes one to learn of what was recovered to it. */
  waits: number;
}

export interface HaEngine {
  readonly services: Map<string, HaService>;
  /** Whose manager decides; undefined until there is anything to decide. */
  master(): string | undefined;
  /** Of the clock's nowMs: when a manager was last heard of. */
  masterSeenMs(): number;
  nodeSeenMs(node: string): number;
  /** It has had services: "active", else "idle". */
  active(node: string): boolean;
  /** A resource came or was changed. */
  changed(): void;
  /** Queues a move, and one of all that go with it; refused where one that it is kept apart from is there. */
  order(sid: string, kind: 'migrate' | 'relocate', target: string): void;
  /** As if it had watched for a while: who decides, which nodes have had services, and all resources as wanted. */
  assume(past: { readonly master: string; readonly active: readonly string[] }): void;
}

const everyMs = 10_000;
const lrmDelayMs = 1500;
const masterLostMs = 115_000;
/** Another node's manager looks a little later than the one that is gone did. */
const nextMasterMs = 1500;
/** What is silent for so long begins anew when it is back. */
const nodeLostMs = 60_000;
const fenceAfterMs = 60_000;
const recoverAfterMs = 130_000;

const engines = new WeakMap<World, HaEngine>();

export function haOf(world: World): HaEngine {
  const there = engines.get(world);
  if (there !== undefined) return there;
  const engine = createEngine(world);
  engines.set(world, engine);
  return engine;
}

export const guestOfSid = (world: World, sid: string): Guest | undefined =>
  world.guests.get(Number(sid.slice(3)));

function createEngine(world: World): HaEngine {
  const { clock, pace } = world;
  const services = new Map<string, HaService>();
  const seenMs = new Map<string, number>();
  const activeNodes = new Set<string>();
  let master: string | undefined;
  let masterSeenMs = clock.nowMs();
  let masterSinceMs = clock.nowMs();
  let takeBack: (() => void) | undefined;

  const present = (name: string): boolean => {
    const node = world.nodes.get(name);
    return node?.alive === true && !node.cut;
  };
  function hasMaster(): boolean {
    if (master !== undefined && present(master)) {
      masterSeenMs = clock.nowMs();
      return true;
    }
    if (master === undefined) elect();
    else if (clock.nowMs() - masterSeenMs >= masterLostMs * pace) clock.after(nextMasterMs * pace, takeOver);
    return master !== undefined && present(master);
  }
  function elect(): void {
    master = [...world.nodes.keys()].find(present);
    masterSeenMs = clock.nowMs();
    masterSinceMs = clock.nowMs();
  }
  function takeOver(): void {
    if (!world.quorate() || (master !== undefined && present(master))) return;
    elect();
    rest();
    takeBack = clock.every(everyMs * pace, look);
  }

  function look(): void {
    if (!world.quorate()) return;
    for (const name of world.nodes.keys()) {
      if (present(name)) seenMs.set(name, clock.nowMs());
      else if (clock.nowMs() - (seenMs.get(name) ?? 0) > nodeLostMs * pace) activeNodes.delete(name);
    }
    if (!hasMaster()) return;
    adopt();
    for (const service of services.values()) decide(service);
    clock.after(lrmDelayMs * pace, act);
    if (services.size === 0 && world.ha.resources.size === 0) rest();
  }
  function adopt(): void {
    for (const { sid, state } of world.ha.resources.values()) {
      const node = guestOfSid(world, sid)?.node;
      if (services.has(sid) || node === undefined || state === 'ignored') continue;
      services.set(sid, newService(sid, node));
    }
  }
  function decide(service: HaService): void {
    const resource = world.ha.resources.get(service.sid);
    if (resource === undefined || resource.state === 'ignored') {
      services.delete(service.sid);
      return;
    }
    if (service.command?.kind === 'stop') {
      resource.state = 'stopped';
      service.graceMs = service.command.graceMs;
      service.command = undefined;
    }
    if (present(service.node)) step(service, resource);
    else recover(service);
    resource.current = service.crm ?? 'queued';
  }
  function become(service: HaService, crm: string): void {
    Object.assign(service, { crm, done: false, running: false });
  }
  function step(service: HaService, resource: HaResource): void {
    const wanted = resource.state === 'started' || resource.state === 'enabled';
    if (service.crm === undefined) become(service, wanted ? 'started' : 'request_stop');
    else if (service.crm === 'request_stop' && service.done) become(service, 'stopped');
    else if ((service.crm === 'migrate' || service.crm === 'relocate') && service.done)
      arrived(service, wanted);
    else if (service.crm === 'started' && service.done) service.running = true;
    if (service.crm === 'error' && resource.state === 'disabled') become(service, 'stopped');
    if (service.crm === 'started' && service.running && service.command === undefined) takeHome(service);
    if (service.crm === 'stopped' && wanted) become(service, 'started');
    else if (service.crm === 'started' && !wanted) become(service, 'request_stop');
    else if (service.command !== undefined && /^(started|stopped)$/.test(service.crm ?? '')) {
      become(service, service.command.kind);
    }
  }
  function takeHome(service: HaService): void {
    const { sid, node } = service;
    const home = homeOf(world, sid, node, [...world.nodes.keys()].filter(present));
    if (home === undefined) return;
    service.command = {
      kind: guestOfSid(world, sid)?.kind === 'qemu' ? 'migrate' : 'relocate',
      target: home,
    };
  }
  function order(sid: string, kind: 'migrate' | 'relocate', target: string): void {
    if (blockingOn(world, sid, target).length > 0) return;
    for (const one of [sid, ...companionsOf(world, sid, 'positive')]) {
      const service = services.get(one);
      if (service !== undefined && service.node !== target) service.command = { kind, target };
    }
  }
  function arrived(service: HaService, wanted: boolean): void {
    service.node = guestOfSid(world, service.sid)?.node ?? service.node;
    service.command = undefined;
    become(service, wanted ? 'started' : 'stopped');
  }
  /** Its node is gone: fenced after a minute, found a new place once its lock has run out. */
  function recover(service: HaService): void {
    const died = world.nodes.get(service.node)?.changedAtMs ?? clock.nowMs();
    const offlineMs = clock.nowMs() - Math.max(died, masterSinceMs);
    if (offlineMs < fenceAfterMs * pace) return;
    if (service.crm !== 'fence') become(service, 'fence');
    if (clock.nowMs() - died < recoverAfterMs * pace) return;
    const guest = guestOfSid(world, service.sid);
    const target = nodesOf(world, service.sid, [...world.nodes.keys()].filter(present))[0];
    if (guest === undefined || target === undefined) {
      become(service, 'recovery');
      return;
    }
    halt(guest);
    moveConfig(world, guest, target);
    service.node = target;
    service.waits = 1;
    become(service, 'started');
  }

  function act(): void {
    if (!world.quorate()) return;
    for (const service of services.values()) {
      if (service.busy || service.done || !present(service.node)) continue;
      activeNodes.add(service.node);
      if (service.waits > 0) service.waits -= 1;
      else perform(service);
    }
    for (const service of services.values()) watch(service);
  }
  function perform(service: HaService): void {
    const guest = guestOfSid(world, service.sid);
    if (guest === undefined) return;
    const running = guest.status === 'running';
    if (service.crm === 'request_stop' || service.crm === 'stopped')
      run(service, guest, running ? 'stop' : undefined);
    else if (service.crm === 'started') run(service, guest, running ? undefined : 'start');
    else if (service.crm === 'migrate' || service.crm === 'relocate') run(service, guest, 'move');
  }
  /** What stopped by itself is started again. */
  function watch(service: HaService): void {
    const guest = guestOfSid(world, service.sid);
    if (!service.running || service.busy || guest === undefined || guest.status === 'running') return;
    if (present(service.node)) become(service, 'started');
  }
  function run(service: HaService, guest: Guest, what: 'start' | 'stop' | 'move' | undefined): void {
    if (what === undefined) {
      service.done = true;
      return;
    }
    const prefix = guest.kind === 'lxc' ? 'vz' : 'qm';
    const verb = { start: 'start', stop: 'shutdown', move: guest.kind === 'lxc' ? 'migrate' : 'igrate' }[
      what
    ];
    service.busy = true;
    const about = { node: service.node, id: guest.vmid, type: `${prefix}${verb}`, caller: rootCaller };
    world.task(about, async (control) => {
      try {
        await control.passes(what === 'move' ? 5000 : 1200);
        if (what === 'start') begin(world, guest);
        else if (what === 'stop') await shutDown(service, guest, control);
        else move(service, guest);
        service.done = true;
      } finally {
        service.busy = false;
      }
    });
  }
  async function shutDown(service: HaService, guest: Guest, control: TaskControl): Promise<void> {
    const { graceMs } = service;
    if (graceMs === 0 || guest.inside.shutdownMs <= graceMs) return halt(guest);
    await control.passes(graceMs);
    become(service, 'error');
  }
  function move(service: HaService, guest: Guest): void {
    const target = service.command?.kind === 'stop' ? undefined : service.command?.target;
    if (target === undefined || !present(target)) return;
    const running = guest.status === 'running';
    halt(guest);
    moveConfig(world, guest, target);
    if (running && service.crm === 'migrate') begin(world, guest);
  }

  function rest(): void {
    takeBack?.();
    takeBack = undefined;
  }
  function changed(): void {
    if (takeBack !== undefined) return;
    // Managers look when a second ends in one, as the recorded ones did; from 9 on in five.
    const phaseMs = world.major === 8 ? 800 : 5400;
    const waitMs = (everyMs + phaseMs - (clock.nowMs() % everyMs)) % everyMs;
    takeBack = clock.after(waitMs * pace, () => {
      takeBack = clock.every(everyMs * pace, look);
      look();
    });
  }
  return {
    services,
    master: () => master,
    masterSeenMs: () => masterSeenMs,
    nodeSeenMs: (name) => seenMs.get(name) ?? clock.nowMs(),
    active: (name) => activeNodes.has(name),
    changed,
    order,
    assume(past) {
      master = past.master;
      masterSeenMs = clock.nowMs();
      for (const name of world.nodes.keys()) seenMs.set(name, clock.nowMs());
      for (const name of past.active) activeNodes.add(name);
      adopt();
      for (const service of services.values()) {
        const resource = world.ha.resources.get(service.sid);
        const crm = resource?.state === 'started' ? 'started' : 'stopped';
        Object.assign(service, { crm, done: true, running: crm === 'started' });
        if (resource !== undefined) resource.current = crm;
      }
      changed();
    },
  };
}

export const newService = (sid: string, node: string): HaService => ({
  sid,
  node,
  crm: undefined,
  done: false,
  running: false,
  busy: false,
  command: undefined,
  graceMs: 60_000,
  waits: 0,
});
