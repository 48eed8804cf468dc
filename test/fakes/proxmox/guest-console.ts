/** Console tickets and graphs: the same for both kinds of guests. */
import { refusal } from './failure.ts';
import { guestFigures } from './guest-figures.ts';
import { guestOf, type Kind } from './guest-life.ts';
import type { Call } from './route.ts';

const firstPort = 5900;

/** A port and a ticket; the worker behind it waits ten virtual seconds for a client. */
export function consoleTicket(call: Call, kind: Kind, type: 'vncproxy' | 'termproxy'): unknown {
  const { world, caller, parameters } = call;
  const guest = guestOf(call, kind);
  const port = firstPort + (guest.vmid % 100);
  const secret = Buffer.from(world.random.bytes(24)).toString('base64');
  const upid = call.fork(type === 'termproxy' ? 'vncproxy' : type, guest.vmid, async (control) => {
    control.log(`starting ${type} ${control.task.upid}`, 'connection timed out');
    await control.passes(10_000);
    throw new Error('connection timed out');
  });
  const answer: Record<string, unknown> = {
    user: caller.authId,
    ticket: `PVEVNC:${world.now().toString(16).toUpperCase()}::${secret}==`,
    port: String(port),
    upid,
  };
  if (type === 'termproxy') return answer;
  answer['cert'] = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n';
  if (parameters['generate-password'] === '1') answer['password'] = secret.slice(0, 8);
  return answer;
}

const stepsOf: Readonly<Record<string, readonly [seconds: number, count: number]>> = {
  hour: [60, 70],
  day: [1800, 70],
  week: [10_800, 70],
  month: [43_200, 70],
  year: [604_800, 70],
};

/** Graph data: times without values before the guest was there, and values since it runs. */
export function graph(call: Call, kind: Kind): unknown {
  const { world, node, parameters } = call;
  const guest = world.guestOn(node, kind, parameters['vmid'] ?? '');
  if (guest === undefined) {
    const folder = world.major === 8 ? 'pve2-vm' : 'pve-vm-9.0';
    const file = `/var/lib/rrdcached/db/${folder}/${parameters['vmid']}`;
    const socket = 'rrdcached@unix:/var/run/rrdcached.sock';
    throw refusal(`RRD error: ${socket}: rrd_fetch_r failed: opening '${file}': No such file or directory`);
  }
  const [seconds, count] = stepsOf[parameters['timeframe'] ?? ''] ?? [60, 70];
  const last = Math.floor(world.now() / seconds) * seconds;
  const figures = guestFigures(guest, world);
  const since = world.now() - figures.uptime;
  return Array.from({ length: count }, (_, index) => {
    const time = last - (count - 1 - index) * seconds;
    if (figures.status === 'stopped' || time < since) return { time };
    return {
      time,
      cpu: figures.cpu,
      maxcpu: figures.cpus,
      mem: figures.memoryBytes,
      maxmem: figures.maxMemoryBytes,
      disk: figures.diskBytes,
      maxdisk: figures.maxDiskBytes,
      netin: figures.netInBytes,
      netout: figures.netOutBytes,
      diskread: 0,
      diskwrite: 0,
    };
  });
}
