import { parseArgs } from 'node:util';
import { DroverError } from '#shared/errors.ts';
import { type LogLevel, logLevels } from '#shared/log.ts';

export interface Config {
  readonly stateDir: string;
  readonly host: string;
  readonly port: number;
  /** Names and addresses under which agents and people reach us; the first goes into join tokens. */
  readonly advertise: readonly HostPort[];
  /** Directories whose files may be brought to clusters as images. */
  readonly templateRoots: readonly string[];
  readonly logLevel: LogLevel;
  /** The epoch of the fleet is this at least. Left out: as the store has it. */
  readonly fleetEpoch?: number;
}

interface HostPort {
  readonly host: string;
  /** Undefined: the one that we listen on. */
  readonly port: number | undefined;
}

export const usage = `Usage: drover control-plane [flags]

Runs the control plane. At its first start it makes its store, its certificate authority and admin.yaml,
the administrator's context for \`drover context import\`, all in the state directory.

Flags:
  --state-dir DIR         where everything is kept (default /var/lib/drover/control-plane)
  --listen HOST:PORT      the one port, for people and agents (default 127.0.0.1:7440)
  --advertise HOST[:PORT] how others reach it; may be given again, the first goes into join tokens
  --template-root DIR     files in it may be brought to clusters as images (tar:/…); may be given again
  --fleet-epoch NUMBER    after a restore: agents and clusters take no orders of a control plane with a lower
                          one any more; see docs/operate.md
  --log-level LEVEL       ${logLevels.join(', ')} (default info)
  --help                  this text
`;

const flags = {
  'state-dir': { type: 'string', default: '/var/lib/drover/control-plane' },
  listen: { type: 'string', default: '127.0.0.1:7440' },
  advertise: { type: 'string', multiple: true },
  'template-root': { type: 'string', multiple: true },
  'fleet-epoch': { type: 'string' },
  'log-level': { type: 'string', default: 'info' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** A unix socket's path has at most 107 bytes, and sessions have theirs below the state directory. */
const stateDirMax = 80;

/** The whole configuration, checked; 'help' when only the usage is wanted. invalid-argument. */
export function parseConfig(argv: readonly string[]): Config | 'help' {
  const values = parseFlags(argv);
  if (values.help) return 'help';
  const { host, port } = parseHostPort(values.listen, '--listen');
  if (port === undefined) throw wanted('--listen', 'HOST:PORT', values.listen);
  const stateDir = values['state-dir'];
  if (!stateDir.startsWith('/') || Buffer.byteLength(stateDir) > stateDirMax) {
    throw wanted('--state-dir', `an absolute path of at most ${stateDirMax} bytes`, stateDir);
  }
  const logLevel = logLevels.find((level) => level === values['log-level']);
  if (logLevel === undefined) throw wanted('--log-level', logLevels.join(', '), values['log-level']);
  const advertise = (values.advertise ?? []).map((text) => parseHostPort(text, '--advertise'));
  const templateRoots = values['template-root'] ?? [];
  const relative = templateRoots.find((each) => !each.startsWith('/'));
  if (relative !== undefined) throw wanted('--template-root', 'an absolute path', relative);
  const fleetEpoch = values['fleet-epoch'];
  if (fleetEpoch !== undefined && !/^[1-9]\d{0,8}$/.test(fleetEpoch))
    throw wanted('--fleet-epoch', 'a whole number above zero', fleetEpoch);
  const config = { stateDir, host, port, advertise, templateRoots, logLevel };
  return fleetEpoch === undefined ? config : { ...config, fleetEpoch: Number(fleetEpoch) };
}

function parseFlags(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: flags, allowPositionals: false }).values;
  } catch (cause) {
    throw new DroverError('invalid-argument', (cause as Error).message, {
      cause,
      nextStep: 'see `drover control-plane --help`',
    });
  }
}

/** "host", "host:port", "[::1]:port". */
function parseHostPort(text: string, flag: string): HostPort {
  const pattern = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9.-]+))(?::(\d{1,5}))?$/;
  const [, ipv6, name, digits] = pattern.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = digits === undefined ? undefined : Number(digits);
  if (host === undefined || (port ?? 0) > 65_535) throw wanted(flag, 'HOST:PORT', text);
  return { host, port };
}

const wanted = (flag: string, what: string, found: string): DroverError =>
  new DroverError('invalid-argument', `${flag} needs ${what}, found ${JSON.stringify(found.slice(0, 200))}`);

export const formatHostPort = (host: string, port: number): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
