/** What is read of virtual machines: lists, status, graphs, consoles, the monitor. */
import { mayAudit } from './resource-rows.ts';
import { agentConfigured } from './agent-state.ts';
import { refusal } from './failure.ts';
import { consolePort, consoleTicket, graph } from './guest-console.ts';
import { guestFigures } from './guest-figures.ts';
import { guestOf } from './guest-life.ts';
import { haAnswer } from './lxc-reads.ts';
import { createMachine } from './qemu-create.ts';
import type { Call, Routes } from './route.ts';
import type { Guest, World } from './world.ts';

/** A row of GET /nodes/{node}/qemu. */
function row(guest: Guest, world: World): Record<string, unknown> {
  const figures = guestFigures(guest, world);
  const answer: Record<string, unknown> = {
    vmid: guest.vmid,
    name: figures.name,
    status: figures.status,
    cpus: figures.cpus,
    cpu: figures.cpu,
    mem: figures.memoryBytes,
    maxmem: figures.maxMemoryBytes,
    disk: 0,
    maxdisk: figures.maxDiskBytes,
    netin: figures.netInBytes,
    netout: figures.netOutBytes,
    uptime: figures.uptime,
  };
  if (guest.config['serial0'] !== undefined) answer['serial'] = 1;
  if (figures.pid !== undefined) answer['pid'] = figures.pid;
  if (figures.tags !== undefined) answer['tags'] = figures.tags;
  if (figures.lock !== undefined) answer['lock'] = figures.lock;
  if (figures.template) answer['template'] = 1;
  if (world.major === 8) return answer;
  answer['memhost'] = figures.memoryBytes;
  if (figures.status === 'stopped') return answer;
  for (const what of ['cpu', 'io', 'memory']) {
    answer[`pressure${what}some`] = 0;
    answer[`pressure${what}full`] = 0;
  }
  return answer;
}

function status(call: Call): unknown {
  const guest = guestOf(call, 'qemu');
  const { world } = call;
  const answer: Record<string, unknown> = {
    ...row(guest, world),
    qmpstatus: guest.qmpStatus,
    ha: haAnswer(guest, world),
  };
  if (agentConfigured(guest)) answer['agent'] = 1;
  const nets = Object.keys(guest.config).filter((key) => /^net\d+$/.test(key));
  if (guest.status === 'stopped' || nets.length === 0) return answer;
  const { netInBytes: netin, netOutBytes: netout } = guest.usage;
  answer['nics'] = Object.fromEntries(
    nets.map((key) => [`tap${guest.vmid}i${key.slice(3)}`, { netin, netout }]),
  );
  return answer;
}

function monitor(call: Call): string {
  const guest = guestOf(call, 'qemu');
  if (guest.status === 'stopped') throw refusal(`VM ${guest.vmid} not running`);
  if (call.parameters['command'] !== 'info status') return '';
  return `VM status: ${guest.qmpStatus}\r\n`;
}

function sendKey(call: Call): null {
  const guest = guestOf(call, 'qemu');
  if (guest.status === 'stopped') throw refusal(`VM ${guest.vmid} not running`);
  return null;
}

const folders =
  'config cloudinit pending status unlink vncproxy termproxy migrate resize move rrd rrddata monitor';
const subdirs = [...folders.split(' '), 'agent', 'snapshot', 'spiceproxy', 'sendkey', 'firewall', 'mtunnel'];

const path = '/nodes/{node}/qemu';
export const qemuReadRoutes: Routes = {
  [`GET ${path}`]: ({ world, node, caller, parameters }) =>
    [...world.guests.values()]
      .filter((guest) => guest.kind === 'qemu' && guest.node === node && mayAudit(world, caller, guest.vmid))
      .map((guest) =>
        parameters['full'] === '1' ? { ...row(guest, world), qmpstatus: guest.qmpStatus } : row(guest, world),
      ),
  [`POST ${path}`]: createMachine,
  [`GET ${path}/{vmid}`]: (call) => {
    guestOf(call, 'qemu');
    return [...subdirs, 'remote_migrate'].map((subdir) => ({ subdir }));
  },
  [`GET ${path}/{vmid}/status/current`]: status,
  [`GET ${path}/{vmid}/rrddata`]: (call) => graph(call, 'qemu'),
  [`POST ${path}/{vmid}/vncproxy`]: (call) => consoleTicket(call, 'qemu', 'vncproxy'),
  [`POST ${path}/{vmid}/termproxy`]: (call) => consoleTicket(call, 'qemu', 'termproxy'),
  [`GET ${path}/{vmid}/vncwebsocket`]: (call) => consolePort(call, 'qemu'),
  [`POST ${path}/{vmid}/monitor`]: monitor,
  [`PUT ${path}/{vmid}/sendkey`]: sendKey,
};
