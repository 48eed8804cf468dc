/** Resources under HA: what the plain API turns into requests, and what adds one. */
import { parameterFailure } from './failure.ts';
import { sidOf } from './guest-life.ts';
import { type HaService, haOf } from './ha-engine.ts';
import { blockingOn } from './ha-placement.ts';
import type { Call } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, World } from './world.ts';

/** Start, stop and migrate of a managed guest: a task that ends at once; the change follows. */
export function requestHa(call: Call, guest: Guest, wanted: 'started' | 'stopped' | 'shut down'): string {
  const { world, parameters } = call;
  if (parameters['overrule-shutdown'] === '1')
    throw parameterFailure({ 'overrule-shutdown': 'Not applicable for HA resources.' });
  const engine = haOf(world);
  const sid = sidOf(guest);
  const verb = wanted === 'started' ? 'start' : 'stop';
  const graceS = wanted === 'shut down' ? Number(parameters['timeout'] ?? 60) : 0;
  return call.fork(`ha${verb}`, guest.vmid, async (control) => {
    control.log(`Requesting HA ${verb} for ${guest.kind === 'lxc' ? 'CT' : 'VM'} ${guest.vmid}`);
    await control.passes(400);
    const resource = world.ha.resources.get(sid);
    if (resource === undefined) return;
    const service = engine.services.get(sid);
    refuseError(
      service,
      control,
      wanted === 'started' ? `set ${sid} --state started` : `crm-command stop ${sid} ${graceS}`,
    );
    if (wanted === 'started' || service === undefined)
      resource.state = wanted === 'started' ? 'started' : 'stopped';
    else service.command = { kind: 'stop', graceMs: graceS * 1000 };
    engine.changed();
  });
}

/** What HA has given up has to be disabled first. */
function refuseError(
  service: HaService | undefined,
  control: Pick<TaskControl, 'log'>,
  command: string,
): void {
  if (service?.crm !== 'error') return;
  control.log(`service '${service.sid}' in error state, must be disabled and fixed first`);
  throw new Error(`command 'ha-manager ${command}' failed: exit code 255`);
}

export function requestHaMigration(call: Call, guest: Guest, target: string): string {
  const engine = haOf(call.world);
  return call.fork('hamigrate', guest.vmid, async (control) => {
    const name = guest.kind === 'lxc' ? 'CT' : 'VM';
    control.log(`Requesting HA migration for ${name} ${guest.vmid} to node ${target}`);
    await control.passes(400);
    const sid = sidOf(guest);
    const blocking = blockingOn(call.world, sid, target);
    // Told by the tool that the task runs; the manager refuses it as well.
    if (blocking.length > 0) {
      control.log(`cannot migrate resource '${sid}' to node '${target}':`);
      for (const one of blocking)
        control.log(
          `- resource '${one}' on target node '${target}' in negative affinity with resource '${sid}'`,
        );
      throw new Error(`command 'ha-manager migrate ${sid} ${target}' failed: exit code 255`);
    }
    engine.order(sid, 'migrate', target);
    engine.changed();
  });
}

export function addHaResource(
  world: World,
  guest: Guest,
  started: boolean,
  fields: Record<string, string> = {},
): void {
  const sid = sidOf(guest);
  world.ha.resources.set(sid, { sid, state: started ? 'started' : 'stopped', fields, current: 'queued' });
  haOf(world).changed();
}
