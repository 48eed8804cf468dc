/** The guest agent of a machine: what it is asked over QEMU, and what a small system inside answers. */
import { agentAnswers, agentConfigured } from './agent-state.ts';
import { runCommand } from './agent-shell.ts';
import { refusal } from './failure.ts';
import { guestOf, halt } from './guest-life.ts';
import { parseParts } from './guest-property.ts';
import type { Call, Handler, Routes } from './route.ts';
import type { Guest, World } from './world.ts';

/** What a system keeps while it runs. */
interface Inside {
  readonly files: Map<string, string>;
  readonly processes: Map<number, { readonly endsAtMs: number; readonly answer: Record<string, unknown> }>;
  frozen: boolean;
  /** What it was when it came up. */
  startedAtMs: number | undefined;
  lastPid: number;
}

const insides = new WeakMap<Guest, Inside>();

function insideOf(guest: Guest): Inside {
  const there = insides.get(guest);
  const { startedAtMs } = guest;
  if (there !== undefined && there.startedAtMs === startedAtMs) return there;
  const files = there?.files ?? new Map([['/etc/hostname', `${guest.inside.hostname}\n`]]);
  const fresh: Inside = {
    files,
    processes: new Map(),
    frozen: false,
    startedAtMs,
    lastPid: 800,
  };
  insides.set(guest, fresh);
  return fresh;
}

/** A machine whose agent is configured and answers; a silent one costs three virtual seconds. */
async function needAgent(call: Call): Promise<Guest> {
  const guest = guestOf(call, 'qemu');
  const { world } = call;
  if (!agentConfigured(guest)) throw refusal('No QEMU guest agent configured');
  if (guest.status === 'stopped') throw refusal(`VM ${guest.vmid} is not running`);
  if (agentAnswers(world, guest)) return guest;
  await world.clock.sleep(3000 * world.pace);
  throw refusal('QEMU guest agent is not running');
}

type Work = (call: Call, guest: Guest, inside: Inside) => unknown;

const agent =
  (work: Work): Handler =>
  async (call) => {
    const guest = await needAgent(call);
    return work(call, guest, insideOf(guest));
  };

/** While file systems stand still, an agent does nothing that might wait for one. */
const disabled = (name: string): string =>
  `Command guest-${name} has been disabled: the agent is in frozen state`;

const byName =
  (name: string, work: Work): Work =>
  (call, guest, inside) => {
    if (inside.frozen) throw refusal(`Agent error: ${disabled(name)}`);
    return work(call, guest, inside);
  };

const answersFrozen = new Set(['ping', 'info', 'fsfreeze-status', 'fsfreeze-thaw']);

/** What an agent refuses here comes as a result. */
const result =
  (name: string, work: Work): Work =>
  (call, guest, inside) => {
    const refused =
      guest.inside.refuses?.[name] ?? (inside.frozen && !answersFrozen.has(name) && disabled(name));
    if (typeof refused === 'string')
      return { result: { error: { class: 'CommandNotFound', desc: refused } } };
    return { result: work(call, guest, inside) };
  };

function exec({ parameters, world }: Call, guest: Guest, inside: Inside): unknown {
  const words = (parameters['command'] ?? '').split('\0');
  const done = runCommand(words, {
    files: inside.files,
    hostname: guest.inside.hostname,
    input: parameters['input-data'] ?? '',
  });
  inside.lastPid += 1;
  const answer: Record<string, unknown> = { exited: 1, exitcode: done.exitCode };
  if (done.out !== '') answer['out-data'] = done.out;
  if (done.err !== '') answer['err-data'] = done.err;
  inside.processes.set(inside.lastPid, { endsAtMs: world.clock.nowMs() + done.takesMs * world.pace, answer });
  return { pid: inside.lastPid };
}

/** What was told as ended is forgotten. */
function execStatus({ parameters, world }: Call, _guest: Guest, inside: Inside): unknown {
  const pid = Number(parameters['pid']);
  const process = inside.processes.get(pid);
  if (process === undefined) throw refusal(`Agent error: PID ${pid} does not exist`);
  if (world.clock.nowMs() < process.endsAtMs) return { exited: 0 };
  inside.processes.delete(pid);
  return process.answer;
}

function readFile({ parameters }: Call, _guest: Guest, { files }: Inside): unknown {
  const { file = '' } = parameters;
  const content = files.get(file);
  if (content === undefined) {
    throw refusal(`Agent error: failed to open file '${file}' (mode: 'r'): No such file or directory`);
  }
  return { content, 'bytes-read': Buffer.byteLength(content) };
}

function writeFile({ parameters }: Call, _guest: Guest, { files }: Inside): null {
  const { file = '', content = '' } = parameters;
  const encoded = parameters['encode'] === '0';
  files.set(file, encoded ? Buffer.from(content, 'base64').toString('utf8') : content);
  return null;
}

/** Of the interfaces: loopback, and one for each that the configuration has. */
function interfaces({ world }: Call, guest: Guest): unknown {
  const loopback = {
    name: 'lo',
    'hardware-address': '00:00:00:00:00:00',
    'ip-addresses': [address('127.0.0.1/8'), address('::1/128')],
  };
  const nets = Object.keys(guest.config).filter((key) => /^net\d+$/.test(key));
  return [loopback, ...nets.sort().map((key) => interfaceOf(world, guest, key))];
}

function interfaceOf(_world: World, guest: Guest, key: string): unknown {
  const index = Number(key.slice(3));
  const mac = [...parseParts(guest.config[key] ?? '', 'model').values()][0] ?? '';
  const ip = parseParts(guest.config[`ipconfig${index}`] ?? '', 'ip');
  const fixed = [ip.get('ip'), ip.get('ip6')].filter((text) => text?.includes('/') === true);
  const lease = `10.99.${200 + index}.${10 + (guest.vmid % 200)}/24`;
  const cidrs = fixed.length > 0 ? fixed : index === 0 && guest.inside.addresses.length > 0 ? [] : [lease];
  const own =
    index === 0 ? guest.inside.addresses.map((text) => (text.includes('/') ? text : `${text}/24`)) : [];
  return {
    name: `eth${index}`,
    'hardware-address': mac.toLowerCase(),
    'ip-addresses': [...cidrs, ...own].map((cidr) => address(cidr ?? '')),
    statistics: { 'rx-bytes': guest.usage.netInBytes, 'tx-bytes': guest.usage.netOutBytes },
  };
}

function address(cidr: string): Record<string, unknown> {
  const [ip = '', prefix = '24'] = cidr.split('/');
  return { 'ip-address': ip, 'ip-address-type': ip.includes(':') ? 'ipv6' : 'ipv4', prefix: Number(prefix) };
}

function freeze(frozen: boolean): Work {
  return (_call, _guest, inside) => {
    inside.frozen = frozen;
    return 1;
  };
}

function shutDown({ world }: Call, guest: Guest): null {
  const { shutdownMs } = guest.inside;
  if (Number.isFinite(shutdownMs)) world.clock.after(shutdownMs * world.pace, () => halt(guest));
  return null;
}

const names =
  'exec exec-status file-read file-write fsfreeze-freeze fsfreeze-status fsfreeze-thaw fstrim get-fsinfo';
const more =
  'get-host-name get-memory-block-info get-memory-blocks get-osinfo get-time get-timezone get-users';
const rest =
  'get-vcpus info network-get-interfaces ping set-user-password shutdown suspend-disk suspend-hybrid';
const commands = `${names} ${more} ${rest} suspend-ram`.split(' ');

const osInfo = {
  id: 'alpine',
  name: 'Alpine Linux',
  'pretty-name': 'Alpine Linux v3.20',
  version: '3.20.3',
  'version-id': '3.20.3',
  'kernel-release': '6.6.58-0-virt',
  'kernel-version': '#1-Alpine SMP',
  machine: 'x86_64',
};

const path = '/nodes/{node}/qemu/{vmid}/agent';
export const agentRoutes: Routes = {
  [`GET ${path}`]: () => commands.map((name) => ({ name })),
  [`POST ${path}/ping`]: agent(result('ping', () => ({}))),
  [`POST ${path}/exec`]: agent(byName('exec', exec)),
  [`GET ${path}/exec-status`]: agent(byName('exec-status', execStatus)),
  [`GET ${path}/file-read`]: agent(byName('file-read', readFile)),
  [`POST ${path}/file-write`]: agent(byName('file-write', writeFile)),
  [`POST ${path}/fsfreeze-freeze`]: agent(result('fsfreeze-freeze', freeze(true))),
  [`POST ${path}/fsfreeze-thaw`]: agent(result('fsfreeze-thaw', freeze(false))),
  [`POST ${path}/fsfreeze-status`]: agent(
    result('fsfreeze-status', (_call, _guest, { frozen }) => (frozen ? 'frozen' : 'thawed')),
  ),
  [`POST ${path}/fstrim`]: agent(result('fstrim', () => ({ paths: [] }))),
  [`GET ${path}/get-fsinfo`]: agent(
    result('get-fsinfo', () => [
      { name: 'sda1', mountpoint: '/', type: 'ext4', 'total-bytes': 1_020_702_720, 'used-bytes': 2_158_592 },
    ]),
  ),
  [`GET ${path}/get-host-name`]: agent(
    result('get-host-name', (_call, guest) => ({ 'host-name': guest.inside.hostname })),
  ),
  [`GET ${path}/get-osinfo`]: agent(result('get-osinfo', () => osInfo)),
  [`GET ${path}/get-time`]: agent(result('get-time', ({ world }) => world.clock.nowMs() * 1_000_000)),
  [`GET ${path}/get-timezone`]: agent(result('get-timezone', () => ({ offset: 0, zone: 'UTC' }))),
  [`GET ${path}/get-users`]: agent(result('get-users', () => [])),
  [`GET ${path}/info`]: agent(
    result('info', () => ({
      version: '9.0.2',
      supported_commands: commands.map((name) => ({ name: `guest-${name}`, enabled: 1 })),
    })),
  ),
  [`GET ${path}/network-get-interfaces`]: agent(result('network-get-interfaces', interfaces)),
  [`POST ${path}/set-user-password`]: agent(result('set-user-password', () => ({}))),
  [`POST ${path}/shutdown`]: agent(shutDown),
};
