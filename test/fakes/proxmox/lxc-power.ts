/** Start, stop, shutdown, reboot, suspend and resume of containers. */
import { owns } from './caller.ts';
import { refusal } from './failure.ts';
import {
  applyPending,
  begin,
  checkUnlocked,
  guestOf,
  halt,
  lockFileOf,
  managedByHa,
  refuseSkipLock,
} from './guest-life.ts';
import { parseParts } from './guest-property.ts';
import { requestHa } from './ha-resources.ts';
import { lxcLockFile } from './locks.ts';
import type { Call, Routes } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, GuestConfig, World } from './world.ts';

const startMs = 1200;
const stopMs = 1250;

/** The guest of the path, or what would be it: most tasks find out themselves that there is none. */
const subject = (call: Call): { readonly kind: 'lxc'; readonly vmid: number; readonly node: string } => ({
  kind: 'lxc',
  vmid: Number(call.parameters['vmid']),
  node: call.node,
});
const found = (call: Call): Guest | undefined =>
  call.world.guestOn(call.node, 'lxc', call.parameters['vmid'] ?? '');

function startContainer(call: Call): string {
  const { world } = call;
  world.needQuorum();
  refuseSkipLock(call);
  const guest = found(call);
  if (guest?.status === 'running') throw refusal(`CT ${guest.vmid} already running`);
  if (guest !== undefined && managedByHa(world, guest)) return requestHa(call, guest, 'started');
  return startTask(call, subject(call));
}

export function startTask(call: Call, guest: Pick<Guest, 'vmid' | 'node'>): string {
  const { world } = call;
  return call.fork('vzstart', guest.vmid, (control) =>
    control.locked(lxcLockFile(guest.vmid), () =>
      runContainer(world, world.needGuest(guest.node, 'lxc', guest.vmid), control),
    ),
  );
}

/** What `pct start` does, under the lock. */
export async function runContainer(
  world: World,
  guest: Guest,
  control: Pick<TaskControl, 'log' | 'warn' | 'passes' | 'pid'>,
) {
  checkUnlocked(guest);
  if (guest.config.template === '1') throw new Error("you can't start a CT if it's a template");
  if (guest.status === 'running') {
    await control.passes(10_200);
    control.log('problem with monitor socket, but continuing anyway: got timeout', '');
    return;
  }
  world.writeConfig(guest, control.pid);
  applyPending(guest);
  checkBridges(world, guest);
  checkVolumes(world, guest);
  // It counts as running before the task ends.
  await control.passes(60);
  begin(world, guest);
  warnOfSystemd(guest.config, control);
  await control.passes(startMs - 60);
}

const systemd = new Set(['debian', 'ubuntu', 'fedora', 'centos', 'archlinux', 'opensuse']);

/** Whatever its version: all of today's are later than the ones that do without. */
export function warnOfSystemd(
  { ostype = '', features = '' }: GuestConfig,
  control: Pick<TaskControl, 'warn'>,
): void {
  if (systemd.has(ostype) && parseParts(features, '').get('nesting') !== '1')
    control.warn('Systemd 252 detected. You may need to enable nesting.');
}

function checkBridges(world: World, guest: Guest): void {
  const there = world.nodes.get(guest.node)?.bridges ?? [];
  for (const key of Object.keys(guest.config).filter((name) => /^net\d+$/.test(name))) {
    const bridge = parseParts(guest.config[key] ?? '', 'name').get('bridge');
    if (bridge !== undefined && !there.includes(bridge)) throw new Error(`bridge '${bridge}' does not exist`);
  }
}

function checkVolumes(world: World, guest: Guest): void {
  for (const key of Object.keys(guest.config).filter((name) => /^(rootfs|mp\d+)$/.test(name))) {
    const volid = parseParts(guest.config[key] ?? '', 'volume').get('volume') ?? '';
    if (volid.startsWith('/') || world.storages.find(volid, guest.node) !== undefined) continue;
    throw new Error(`volume '${volid}' does not exist`);
  }
}

function needRunning(call: Call, name = 'CT'): Guest {
  const guest = found(call);
  if (guest?.status !== 'running') throw refusal(`${name} ${call.parameters['vmid']} not running`);
  return guest;
}

function stopContainer(call: Call): string {
  refuseSkipLock(call);
  const guest = needRunning(call);
  if (managedByHa(call.world, guest)) return requestHa(call, guest, 'stopped');
  const ended = call.parameters['overrule-shutdown'] === '1' ? abortShutdowns(call, guest) : [];
  return call.fork('vzstop', guest.vmid, async (control) => {
    control.log(...overruled(guest, ended));
    await control.locked(lockFileOf(guest), async () => {
      const now = call.world.needGuest(call.node, 'lxc', guest.vmid);
      checkUnlocked(now);
      await control.passes(now.status === 'running' ? stopMs : 50);
      halt(now);
    });
  });
}

/** Those of the caller; gives the UPIDs of those that were running. */
export function abortShutdowns(call: Call, guest: Guest): string[] {
  const type = guest.kind === 'lxc' ? 'vzshutdown' : 'qmshutdown';
  const mayAll = call.may(`/nodes/${call.node}`, 'Sys.Modify');
  const running = call.world.tasks
    .list(call.node)
    .filter((task) => task.type === type && task.id === String(guest.vmid) && task.exitStatus === undefined)
    .filter((task) => mayAll || owns(call.caller, task));
  for (const task of running) call.world.tasks.abort(task);
  return running.map(({ upid }) => upid);
}

/** What the task that overrules them tells of it. */
export const overruled = (guest: Guest, upids: readonly string[]): string[] =>
  upids.length === 0
    ? []
    : [`overruled ${guest.kind === 'lxc' ? 'vz' : 'qm'}shutdown tasks: ${upids.join(', ')}`];

function shutdownContainer(call: Call): string {
  const guest = needRunning(call);
  if (managedByHa(call.world, guest)) return requestHa(call, guest, 'shut down');
  return call.fork('vzshutdown', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), () => shutDownContainer(call, control, 'shutdown')),
  );
}

/** Asks, waits as long as it may, and kills only where that was asked for, or it is to start again. */
export async function shutDownContainer(call: Call, control: TaskControl, why: string): Promise<void> {
  const { parameters, world, node } = call;
  const guest = world.needGuest(node, 'lxc', parameters['vmid'] ?? '');
  checkUnlocked(guest);
  const timeoutMs = Number(parameters['timeout'] ?? (why === 'migrate' ? 180 : 60)) * 1000;
  const { shutdownMs } = guest.inside;
  await control.passes(Math.min(shutdownMs, timeoutMs));
  const isEnded = parameters['forceStop'] === '1' || why === 'reboot';
  if (shutdownMs > timeoutMs && !isEnded) {
    const command = `lxc-stop -n ${guest.vmid} --nokill --timeout ${timeoutMs / 1000}`;
    control.log(`command '${command}' failed: exit code 1`);
    // It may yet, for as long again.
    await control.passes(timeoutMs + 5000);
    throw new Error('container did not stop');
  }
  halt(guest);
}

function rebootContainer(call: Call): string {
  const guest = needRunning(call, 'VM');
  const { world } = call;
  return call.fork('vzreboot', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      await shutDownContainer(call, control, 'reboot');
      await runContainer(world, guest, control);
    }),
  );
}

/** There is no CRIU: containers cannot be suspended, and say so in the task. */
function checkpoint(call: Call, type: 'vzsuspend' | 'vzresume'): string {
  const vmid = call.parameters['vmid'] ?? '';
  const [flags, why, last, errno] =
    type === 'vzsuspend'
      ? ['-s', 'checkpoint: 182 Checkpointing', 'failed', 'No such file or directory']
      : ['-r --foreground', 'restore_finalize: 203 Restoring', 'failed', 'Connection refused'];
  return call.fork(type, vmid, async (control) => {
    call.world.needGuest(call.node, 'lxc', vmid);
    await control.passes(250);
    control.log(
      `lxc-checkpoint: ${vmid}: ../src/lxc/criu.c: criu_version_ok: 767 ${errno} - execing criu failed, is it installed?`,
      `lxc-checkpoint: ${vmid}: ../src/lxc/tools/lxc_checkpoint.c: ${why} ${vmid} ${last}`,
    );
    throw new Error(`command 'lxc-checkpoint -n ${vmid} ${flags} -D /var/lib/vz/dump' failed: exit code 1`);
  });
}

function suspendContainer(call: Call): string {
  needRunning(call);
  return checkpoint(call, 'vzsuspend');
}

function resumeContainer(call: Call): string {
  const guest = guestOf(call, 'lxc');
  if (guest.status === 'running') throw refusal(`CT ${guest.vmid} already running`);
  return checkpoint(call, 'vzresume');
}

const path = '/nodes/{node}/lxc/{vmid}/status';
export const lxcPowerRoutes: Routes = {
  [`GET ${path}`]: (call) => {
    guestOf(call, 'lxc');
    return ['current', 'start', 'stop', 'shutdown', 'migrate'].map((subdir) => ({ subdir }));
  },
  [`POST ${path}/start`]: startContainer,
  [`POST ${path}/stop`]: stopContainer,
  [`POST ${path}/shutdown`]: shutdownContainer,
  [`POST ${path}/reboot`]: rebootContainer,
  [`POST ${path}/suspend`]: suspendContainer,
  [`POST ${path}/resume`]: resumeContainer,
};
