/** Console tickets and graphs: the same for both kinds of guests. */
import { ApiFailure, refusal } from './failure.ts';
import { guestFigures } from './guest-figures.ts';
import { guestOf, type Kind } from './guest-life.ts';
import type { Call } from './route.ts';
import { portKey, terminalsOf } from './terminals.ts';

const firstPort = 5900;
const withinMs = 10_000;

/** On the node that was asked, wherever the guest is: what waits there waits ten virtual seconds for a client. */
export function consoleTicket(call: Call, kind: Kind, type: 'vncproxy' | 'termproxy'): unknown {
  const { world, caller, parameters, endpoint } = call;
  const guest = guestOf(call, kind);
  const { ports } = terminalsOf(world);
  let port = firstPort + (guest.vmid % 100);
  while (ports.has(portKey(endpoint, port))) port = firstPort + ((port + 1) % 100);
  const secret = Buffer.from(world.random.bytes(24)).toString('base64');
  const ticket = `PVEVNC:${world.now().toString(16).toUpperCase()}::${secret}==`;
  const came = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const about = { ticket, authId: caller.authId, guest, type, connected: undefined };
  ports.set(portKey(endpoint, port), { ...about, onConnect: came.resolve, onEnd: left.resolve });
  const options = { node: endpoint, type: 'vncproxy', id: guest.vmid, caller };
  const { upid } = world.task(options, async (control) => {
    control.log(`starting ${type} ${control.task.upid}`);
    try {
      const late = control.passes(withinMs).then(() => 'late' as const);
      late.catch(() => undefined);
      if ((await Promise.race([came.promise, late])) === 'late') {
        control.log('connection timed out');
        throw new Error('connection timed out');
      }
      const aborted = new Promise<void>((resolve) =>
        control.signal.addEventListener('abort', () => resolve(), { once: true }),
      );
      await Promise.race([left.promise, aborted]);
    } finally {
      ports.get(portKey(endpoint, port))?.connected?.end();
      ports.delete(portKey(endpoint, port));
    }
  });
  const answer: Record<string, unknown> = { user: caller.authId, ticket, port: String(port), upid };
  if (type === 'termproxy') return answer;
  answer['cert'] = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n';
  if (parameters['generate-password'] === '1') answer['password'] = secret.slice(0, 8);
  return answer;
}

/** The ticket counts for who got it, for that guest and that port, and for forty seconds. */
export function consolePort(call: Call, kind: Kind): unknown {
  const { world, caller, parameters, endpoint } = call;
  const { vmid } = guestOf(call, kind);
  const { port = '', vncticket = '' } = parameters;
  const open = terminalsOf(world).ports.get(portKey(endpoint, port));
  if (open?.ticket !== vncticket || open.authId !== caller.authId || open.guest.vmid !== vmid)
    throw new ApiFailure(401, 'permission denied - invalid PVEVNC ticket');
  return { port };
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
