import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { DroverError, type FieldFault } from '#shared/errors.ts';
import { type LogLevel, logLevels } from '#shared/log.ts';
import { parseNodeName } from '#shared/wire/checks.ts';
import { isPools, type PoolConfig } from './volumes/pool-config.ts';

/** What the agent was told, checked once. Keys of the file, flags and environment have the same meaning. */
export interface AgentConfig {
  /** Survives a reboot. */
  readonly stateDir: string;
  /** Lost at a reboot. */
  readonly runDir: string;
  /** "host:port". Empty: as the join token said. */
  readonly controlPlane: string;
  /** Empty: as the join token said. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /**
   * Host ids that guests run as: `size` for the node, and behind them `count` times as many, one range for an
   * instance each where the host can shift ids of mounts.
   */
  readonly idRange: { readonly base: number; readonly size: number; readonly count: number };
  /** "host:port" of registries that speak plain HTTP. */
  readonly insecureRegistries: readonly string[];
  /** Directories below which `oci:/…` images may lie. */
  readonly ociRoots: readonly string[];
  /** Directories below which `tar:/…` images may lie. */
  readonly templateRoots: readonly string[];
  /** By the name that `lxc:NAME/…` images have: servers that list their images. */
  readonly imageServers: Readonly<Record<string, { readonly url: string; readonly insecure?: boolean }>>;
  /** "host:port" of servers of tarballs that may be asked over plain HTTP. */
  readonly insecureImageServers: readonly string[];
  /** How long images stay that no instance is made from; `pinned` ones always do. Zero MiB: no limit. */
  readonly images: {
    readonly keepUnusedHours: number;
    readonly maxUnusedMib: number;
    readonly pinned: readonly string[];
  };
  /** Where volumes lie; the first is the default. None: a directory pool "local" below stateDir. */
  readonly pools: readonly PoolConfig[];
  /** Holds one file of registry credentials for each name. Empty: none. */
  readonly credentialsDir: string;
  /** First part of every guest's cgroup. Empty: from the incarnation. */
  readonly cgroupPrefix: string;
  /** Device files of the host that specs may ask for: "/dev/fuse". */
  readonly allowedDevices: readonly string[];
  /** Whether specs may ask for guests whose root is the host's. */
  readonly allowsPrivileged: boolean;
  /** Whether guests are let through the host's own rules, where those forward nothing. */
  readonly firewall: boolean;
  readonly logLevel: LogLevel;
}

export interface AgentArguments {
  readonly config: AgentConfig;
  readonly positionals: readonly string[];
}

const defaults: AgentConfig = {
  stateDir: '/var/lib/drover/agent',
  runDir: '/run/drover/agent',
  controlPlane: '',
  name: '',
  labels: {},
  idRange: { base: 1_000_000, size: 65_536, count: 1000 },
  insecureRegistries: [],
  ociRoots: [],
  templateRoots: [],
  imageServers: {},
  insecureImageServers: [],
  images: { keepUnusedHours: 168, maxUnusedMib: 0, pinned: [] },
  pools: [],
  credentialsDir: '',
  cgroupPrefix: '',
  allowedDevices: ['/dev/fuse', '/dev/net/tun'],
  allowsPrivileged: false,
  firewall: false,
  logLevel: 'info',
};

/**
 * From flags, then DROVER_AGENT_CONFIG's or --config's file, then the defaults. invalid-argument with every
 * fault.
 */
export function readConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): AgentArguments {
  const { values, positionals } = readArguments(argv);
  const file = values.config ?? env['DROVER_AGENT_CONFIG'];
  const fromFile = file === undefined ? {} : readFile(file);
  const flags = {
    ...(values['state-dir'] !== undefined && { stateDir: values['state-dir'] }),
    ...(values['run-dir'] !== undefined && { runDir: values['run-dir'] }),
    ...(values['control-plane'] !== undefined && { controlPlane: values['control-plane'] }),
    ...(values['log-level'] !== undefined && { logLevel: values['log-level'] }),
  };
  return { config: checkConfig({ ...fromFile, ...flags }), positionals };
}

function readArguments(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  const options = {
    config: text,
    'state-dir': text,
    'run-dir': text,
    'control-plane': text,
    'log-level': text,
  };
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true });
  } catch (cause) {
    throw new DroverError('invalid-argument', (cause as Error).message, {
      cause,
      nextStep: '--help lists the flags',
    });
  }
}

function readFile(file: string): Record<string, unknown> {
  try {
    const value: unknown = parse(readFileSync(file, 'utf8'));
    if (value === null) return {};
    if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw new DroverError('invalid-argument', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
  throw new DroverError('invalid-argument', `${file}: wanted keys and values`);
}

type Check = (value: unknown) => string | undefined;
const wanted =
  (what: string, test: (value: unknown) => boolean): Check =>
  (value) =>
    test(value) ? undefined : `wanted ${what}, found ${JSON.stringify(value)}`;
const isText = (value: unknown): value is string => typeof value === 'string';
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isPath = (value: unknown): boolean =>
  isText(value) && /^\/[^\0]*$/.test(value) && !value.includes('/../');
const isPaths = (value: unknown): boolean => isTexts(value) && (value as string[]).every(isPath);

/** A key without a check does not compile. */
const checks: { readonly [Key in keyof AgentConfig]: Check } = {
  stateDir: wanted('an absolute path', isPath),
  runDir: wanted('an absolute path', isPath),
  controlPlane: wanted('"host:port"', (value) => isText(value) && /^(\S+:\d{1,5})?$/.test(value)),
  name: wanted('a name of a-z, 0-9 and "-"', (value) => isText(value) && (value === '' || isNodeName(value))),
  labels: wanted('keys and texts', isLabels),
  idRange: wanted('{ base, size, count }, with a size of at least 65536', isRange),
  insecureRegistries: wanted('a list of "host:port"', isTexts),
  ociRoots: wanted('a list of absolute paths', isPaths),
  templateRoots: wanted('a list of absolute paths', isPaths),
  imageServers: wanted(
    'names, each with { url: "https://host" }, or with http and insecure: true',
    isImageServers,
  ),
  insecureImageServers: wanted('a list of "host:port"', isTexts),
  images: wanted('{ keepUnusedHours, maxUnusedMib, pinned }, two numbers and a list', isImagePolicy),
  pools: wanted(
    'a list of { name, driver: directory, directory? } and { name, driver: zfs, dataset }',
    isPools,
  ),
  credentialsDir: wanted('an absolute path', (value) => value === '' || isPath(value)),
  cgroupPrefix: wanted(
    '"/" and a name',
    (value) => isText(value) && /^(\/drover-[a-z0-9-]{1,40})?$/.test(value),
  ),
  allowedDevices: wanted(
    'a list of paths below /dev',
    (value) =>
      isTexts(value) && (value as string[]).every((each) => /^\/dev(\/[A-Za-z0-9_-]+){1,3}$/.test(each)),
  ),
  allowsPrivileged: wanted('true or false', (value) => typeof value === 'boolean'),
  firewall: wanted('true or false', (value) => typeof value === 'boolean'),
  logLevel: wanted(`one of ${logLevels.join(', ')}`, (value) => logLevels.includes(value as LogLevel)),
};

function checkConfig(given: Readonly<Record<string, unknown>>): AgentConfig {
  const faults: FieldFault[] = [];
  for (const [field, value] of Object.entries(given)) {
    const check = Object.hasOwn(checks, field) ? checks[field as keyof AgentConfig] : undefined;
    const known = Object.keys(checks).join(', ');
    const message = check === undefined ? `there is no such key; there are ${known}` : check(value);
    if (message !== undefined) faults.push({ field, message });
  }
  if (faults.length > 0) {
    const text = faults.map(({ field, message }) => `${field}: ${message}`).join('; ');
    throw new DroverError('invalid-argument', `the agent's configuration: ${text}`, { faults });
  }
  const config: AgentConfig = { ...defaults, ...given };
  return Object.freeze({
    ...config,
    // Who names a range without a count has given no more ids than that.
    idRange: Object.assign({ count: 0 }, config.idRange),
    images: { ...defaults.images, ...config.images },
  });
}

function isNodeName(name: string): boolean {
  try {
    return parseNodeName(name) === name;
  } catch {
    return false;
  }
}

function isLabels(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(
    ([key, text]) =>
      /^([a-z0-9.-]{1,253}\/)?[A-Za-z0-9._-]{1,63}$/.test(key) &&
      isText(text) &&
      /^[A-Za-z0-9._-]{0,63}$/.test(text),
  );
}

function isRange(value: unknown): boolean {
  const { base, size, count = 0, ...rest } = (value ?? {}) as Record<string, unknown>;
  if (![base, size, count].every(Number.isSafeInteger) || Object.keys(rest).length > 0) return false;
  const [first, each, more] = [base as number, size as number, count as number];
  return first >= 65_536 && each >= 65_536 && more >= 0 && first + each * (more + 1) <= 2 ** 32 - 1;
}

function isImageServers(value: unknown): boolean {
  if (!isRecord(value)) return false;
  return Object.entries(value).every(([name, server]) => {
    if (!/^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/.test(name) || !isRecord(server)) return false;
    const { url, insecure = false, ...rest } = server;
    if (Object.keys(rest).length > 0 || typeof insecure !== 'boolean') return false;
    if (!isText(url) || !URL.canParse(url)) return false;
    const { protocol, username, search, hash } = new URL(url);
    const isPlain = `${username}${search}${hash}` === '';
    return isPlain && (protocol === 'https:' || (protocol === 'http:' && insecure));
  });
}

function isImagePolicy(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { keepUnusedHours = 0, maxUnusedMib = 0, pinned = [], ...rest } = value;
  const areCounts = [keepUnusedHours, maxUnusedMib].every(
    (each) => Number.isSafeInteger(each) && (each as number) >= 0,
  );
  return areCounts && isTexts(pinned) && Object.keys(rest).length === 0;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
