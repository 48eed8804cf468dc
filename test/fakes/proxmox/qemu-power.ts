/** Start, stop, shutdown, reboot, reset, suspend and resume of virtual machines. */
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
import { disksOf } from './guest-disks.ts';
import { agentAnswers, agentConfigured } from './agent-state.ts';
import { makeDriveAnew } from './qemu-cloudinit-drive.ts';
import { requestHa } from './ha-resources.ts';
import { qemuLockFile } from './locks.ts';
import { abortShutdowns, overruled } from './lxc-power.ts';
import type { Call, Routes } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, World } from './world.ts';

const cleanUpMs = 1500;

const found = (call: Call): Guest | undefined =>
  call.world.guestOn(call.node, 'qemu', call.parameters['vmid'] ?? '');

function start(call: Call): string {
  const { world, node, parameters } = call;
  world.needQuorum();
  refuseSkipLock(call);
  const guest = found(call);
  if (guest !== undefined && managedByHa(world, guest)) return requestHa(call, guest, 'started');
  return startMachineTask(call, { vmid: Number(parameters['vmid']), node });
}

export function startMachineTask(
  call: Call,
  { vmid, node }: Pick<Guest, 'vmid' | 'node'>,
  type: 'qmstart' | 'qmresume' = 'qmstart',
): string {
  const { world } = call;
  return call.fork(type, vmid, (control) =>
    control.locked(qemuLockFile(vmid), () => runMachine(world, world.needGuest(node, 'qemu', vmid), control)),
  );
}

async function runMachine(world: World, guest: Guest, control: TaskControl): Promise<void> {
  if (guest.config.lock === 'suspended') delete guest.config.lock;
  checkUnlocked(guest);
  if (guest.config.template === '1') throw new Error("you can't start a vm if it's a template");
  if (guest.status === 'running') throw new Error(`VM ${guest.vmid} already running`);
  world.writeConfig(guest, control.pid);
  applyPending(guest);
  makeDriveAnew(guest);
  await control.passes(250);
  checkCustom(world, guest);
  for (const { volid, volume } of disksOf(world, guest)) {
    if (volume === undefined) throw new Error(`volume '${volid}' does not exist`);
  }
  if (guest.config['kvm'] !== '0' && world.nodes.get(guest.node)?.kvm === false) {
    throw new Error(
      'KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS.',
    );
  }
  checkBridges(world, guest, control);
  await control.passes(500);
  begin(world, guest);
}

/** Snippets of one's own that are missing. */
function checkCustom(world: World, guest: Guest): void {
  for (const volid of parseParts(guest.config['cicustom'] ?? '', '').values()) {
    if (world.storages.find(volid, guest.node) === undefined)
      throw new Error(`volume '${volid}' does not exist`);
  }
}

function checkBridges(world: World, guest: Guest, control: TaskControl): void {
  const there = world.nodes.get(guest.node)?.bridges ?? [];
  for (const key of Object.keys(guest.config).filter((name) => /^net\d+$/.test(name))) {
    const bridge = parseParts(guest.config[key] ?? '', 'model').get('bridge');
    if (bridge === undefined || there.includes(bridge)) continue;
    if (world.major > 8) throw new Error(`bridge '${bridge}' does not exist`);
    const folder = '/usr/libexec/qemu-server';
    const script = `script=${folder}/pve-bridge,downscript=${folder}/pve-bridgedown`;
    const index = key.slice(3);
    control.log(
      `bridge '${bridge}' does not exist`,
      `kvm: -netdev type=tap,id=net${index},ifname=tap${guest.vmid}i${index},${script}: network script ${folder}/pve-bridge failed with status 512`,
    );
    throw new Error('start failed: QEMU exited with code 1');
  }
}

/** Stopping what is stopped is a task that ends well; of what is not there, one that says so. */
function stop(call: Call): string {
  refuseSkipLock(call);
  const { world, parameters, node } = call;
  const vmid = parameters['vmid'] ?? '';
  const guest = found(call);
  if (guest !== undefined && managedByHa(world, guest)) return requestHa(call, guest, 'stopped');
  const overrules = guest !== undefined && parameters['overrule-shutdown'] === '1';
  const lines = overrules ? overruled(guest, abortShutdowns(call, guest)) : [];
  return call.fork('qmstop', vmid, async (control) => {
    control.log(...lines);
    await control.locked(qemuLockFile(vmid), async () => {
      const now = needMachine(world, node, vmid);
      if (now.status === 'stopped') return;
      checkUnlocked(now);
      await control.passes(350);
      halt(now);
    });
  });
}

function needMachine(world: World, node: string, vmid: string): Guest {
  const guest = world.guestOn(node, 'qemu', vmid);
  if (guest === undefined)
    throw new Error(`unable to find configuration file for VM ${vmid} on node '${node}'`);
  return guest;
}

function shutdown(call: Call): string {
  refuseSkipLock(call);
  const { world, parameters, node } = call;
  const vmid = parameters['vmid'] ?? '';
  const guest = found(call);
  refusePaused(guest);
  if (guest !== undefined && managedByHa(world, guest)) return requestHa(call, guest, 'shut down');
  return call.fork('qmshutdown', vmid, (control) =>
    control.locked(qemuLockFile(vmid), async () => {
      const now = needMachine(world, node, vmid);
      if (now.status === 'running') await shutDown(call, now, control);
    }),
  );
}

/** It would heed it once it runs again. */
function refusePaused(guest: Guest | undefined): void {
  if (guest?.status === 'running' && guest.qmpStatus === 'paused')
    throw refusal('VM is paused - cannot shutdown');
}

async function shutDown({ world, parameters }: Call, guest: Guest, control: TaskControl): Promise<void> {
  checkUnlocked(guest);
  const timeoutMs = Number(parameters['timeout'] ?? 180) * 1000;
  if (agentConfigured(guest) && !agentAnswers(world, guest)) {
    await control.passes(3000);
    const channel = world.major === 8 ? 'qmp' : 'qga';
    control.log(
      `QEMU Guest Agent is not running - VM ${guest.vmid} ${channel} command 'guest-ping' failed - got timeout`,
    );
  }
  const { shutdownMs } = guest.inside;
  await control.passes(Math.min(shutdownMs, timeoutMs));
  if (shutdownMs > timeoutMs) {
    if (parameters['forceStop'] !== '1') throw new Error('VM quit/powerdown failed - got timeout');
    control.log('VM still running - terminating now with SIGTERM');
    await control.passes(1000);
  }
  halt(guest);
}

function needRunning(call: Call): Guest {
  const guest = guestOf(call, 'qemu');
  if (guest.status === 'stopped') throw refusal(`VM ${guest.vmid} not running`);
  return guest;
}

function reboot(call: Call): string {
  refusePaused(found(call));
  const guest = needRunning(call);
  return call.fork('qmreboot', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      await shutDown(call, guest, control);
      void startLater(call, guest);
    }),
  );
}

/** Its node starts it again once it has cleaned up, long after the task has ended. */
async function startLater(call: Call, guest: Guest): Promise<void> {
  await call.world.clock.sleep(cleanUpMs * call.world.pace);
  startMachineTask(call, guest);
}

function reset(call: Call): string {
  const guest = needRunning(call);
  return call.fork('qmreset', guest.vmid, async (control) => {
    checkUnlocked(guest);
    await control.passes(100);
    guest.startedAtMs = call.world.clock.nowMs();
  });
}

/** Into memory by default; to disk it is off then, and its lock says so. */
function suspend(call: Call): string {
  const guest = needRunning(call);
  const toDisk = call.parameters['todisk'] === '1';
  return call.fork(toDisk ? 'qmsuspend' : 'qmpause', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      checkUnlocked(guest);
      if (toDisk) guest.config.lock = 'suspending';
      await control.passes(toDisk ? 2000 : 50);
      if (toDisk) {
        halt(guest);
        guest.config.lock = 'suspended';
      } else guest.qmpStatus = 'paused';
    }),
  );
}

function resume(call: Call): string {
  const guest = guestOf(call, 'qemu');
  const { world } = call;
  if (guest.config.lock === 'suspended') return startMachineTask(call, guest, 'qmresume');
  needRunning(call);
  return call.fork('qmresume', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      checkUnlocked(guest);
      await control.passes(50);
      guest.qmpStatus = 'running';
      world.writeConfig(guest, control.pid);
    }),
  );
}

const path = '/nodes/{node}/qemu/{vmid}/status';
const verbs = ['current', 'start', 'stop', 'reset', 'shutdown', 'suspend', 'reboot'];
export const qemuPowerRoutes: Routes = {
  [`GET ${path}`]: (call) => {
    guestOf(call, 'qemu');
    return verbs.map((subdir) => ({ subdir }));
  },
  [`POST ${path}/start`]: start,
  [`POST ${path}/stop`]: stop,
  [`POST ${path}/shutdown`]: shutdown,
  [`POST ${path}/reboot`]: reboot,
  [`POST ${path}/reset`]: reset,
  [`POST ${path}/suspend`]: suspend,
  [`POST ${path}/resume`]: resume,
};
