import { existsSync, readFileSync } from 'node:fs';
import { DroverError } from '#shared/errors.ts';
import type { RuntimeFacts } from '#shared/model.ts';
import type { Cgroups } from '../host/cgroup.ts';
import type { DriverContext } from './driver.ts';
import type { LxcHost } from './lxc-config.ts';

/** What this driver announces; what a spec asks for besides is refused by name. */
export const lxcCapabilities: readonly string[] = [
  'console',
  'devices',
  'exec',
  'logs',
  'lxc-keys',
  'mounts',
  'nesting',
  'network-bridged',
  'network-host',
  'network-none',
  'outlives-monitor',
  'pause',
  'privileged',
  'stats',
  'update',
];

export interface LxcTools {
  /** Absolute paths: LXC finds nothing on its search path, see startEnvironment. */
  readonly start: string;
  readonly attach: string;
  readonly console: string;
}

/**
 * With newuidmap on its search path LXC asks /etc/subuid, which knows nothing of our ranges, and refuses;
 * without it writes the map itself, as root may.
 */
export const startEnvironment = { PATH: '/nonexistent' } as const;

export function probeLxcHost(cgroups: Cgroups, seccompProfile: string, cgroupRoot: string): LxcHost {
  return {
    cgroupVersion: existsSync(`${cgroupRoot}/cgroup.controllers`) ? 2 : 1,
    limitsSwap: cgroups.limitsSwap,
    hasAppArmor: readWord('/sys/module/apparmor/parameters/enabled') === 'Y',
    seccompProfile: existsSync(seccompProfile) ? seccompProfile : undefined,
  };
}

function readWord(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return ''; // A kernel without it.
  }
}

/** Whether LXC and perl are there and cgroups are whole; what protects guests less than usual is named. */
export async function lxcFacts(
  { commands }: DriverContext,
  tools: LxcTools,
  host: LxcHost,
  cgroupFault: string,
  signal: AbortSignal,
): Promise<RuntimeFacts> {
  const missing = [
    ...(host.hasAppArmor ? [] : ['no-apparmor']),
    ...(host.seccompProfile === undefined ? ['no-seccomp'] : []),
  ];
  const capabilities = [...lxcCapabilities, `cgroup-v${host.cgroupVersion}`, ...missing];
  const facts = { name: 'lxc', version: '', capabilities };
  try {
    const env = startEnvironment;
    const { stdout } = await commands.run(tools.start, ['--version'], { signal, timeoutMs: 5000, env });
    const version = /^\d+\.\d+\S*/.exec(stdout.trim())?.[0];
    if (version === undefined) throw new DroverError('unavailable', 'lxc-start says no version');
    for (const tool of [tools.attach, tools.console]) {
      if (existsSync(tool)) continue;
      throw new DroverError('unavailable', `${tool} is not there`, { nextStep: 'apt-get install lxc' });
    }
    await commands.run('perl', ['-e', 'use POSIX; use Fcntl'], { signal, timeoutMs: 5000 });
    return { ...facts, version, healthy: cgroupFault === '', detail: cgroupFault };
  } catch (error) {
    const { message, nextStep } = error as Partial<DroverError>;
    return { ...facts, healthy: false, detail: [message, nextStep].filter(Boolean).join('; ') };
  }
}
