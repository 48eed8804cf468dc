import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import { asDroverError } from '#shared/errors.ts';
import type { HostCommands } from '../host/command.ts';
import { type IpBatch, isThere, readInterface } from './bridges.ts';
import { cniVersion, loopbackConfig } from './cni-config.ts';
import { readVanishing } from './vanishing-file.ts';

export interface NetworkFactsOptions {
  readonly run: HostCommands['run'];
  readonly ip: IpBatch;
  readonly pluginDir: string;
  /** Of a bridge that is made and removed again at once. */
  readonly probe: string;
}

type NetworkFacts = Readonly<Record<string, string>>;

/**
 * "yes", or why not, for each thing that networks may ask of a host. A kernel stays as it is: its bridges are
 * tried until one is made. A tool that is missing may be installed: the rest is asked again until all is
 * there.
 */
export function createNetworkFacts(
  options: NetworkFactsOptions,
): (signal: AbortSignal) => Promise<NetworkFacts> {
  let kernel: KernelFacts | undefined;
  let found: NetworkFacts | undefined;
  return async (signal) => {
    if (found !== undefined) return found;
    kernel ??= await probeBridge(options, signal);
    const facts = await readNetworkFacts(options, kernel, signal);
    if (kernel.bridge !== 'yes') kernel = undefined;
    if (facts['portmap'] === 'yes' && facts['masquerade'] === 'yes') found = facts;
    return facts;
  };
}

interface KernelFacts {
  readonly bridge: string;
  readonly vlan: string;
}

async function readNetworkFacts(
  options: NetworkFactsOptions,
  { bridge, vlan }: KernelFacts,
  signal: AbortSignal,
): Promise<NetworkFacts> {
  const { run, pluginDir } = options;
  const cni = await speaks(options, signal);
  const [portmap, firewall, iptables, nft] = await Promise.all([
    hasPlugin(pluginDir, 'portmap'),
    hasPlugin(pluginDir, 'firewall'),
    answers(run, 'iptables-save', signal),
    answers(run, 'nft', signal),
  ]);
  const disabled = (await readVanishing('/proc/sys/net/ipv6/conf/all/disable_ipv6'))?.trim();
  const ipv6 = disabled === '0' ? 'yes' : 'it is switched off on this host';
  return {
    cni,
    bridge: firstNo(cni, bridge),
    vlan: firstNo(cni, bridge, vlan),
    ipv6,
    portmap: firstNo(cni, portmap, iptables),
    firewall: firstNo(cni, firewall, iptables),
    masquerade: nft,
  };
}

const firstNo = (...answers: readonly string[]): string => answers.find((one) => one !== 'yes') ?? 'yes';

async function hasPlugin(pluginDir: string, plugin: string): Promise<string> {
  const file = path.join(pluginDir, plugin);
  const found = await access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
  return found ? 'yes' : `${file} is missing; apt-get install containernetworking-plugins`;
}

async function answers(run: HostCommands['run'], tool: string, signal: AbortSignal): Promise<string> {
  try {
    const { exitCode, stderr } = await run(tool, ['--version'], { signal, timeoutMs: 10_000 });
    return exitCode === 0 ? 'yes' : `${tool}: ${stderr.trim().slice(0, 200)}`;
  } catch (error) {
    const { message, nextStep } = asDroverError(error);
    return nextStep === '' ? message : `${message}; ${nextStep}`;
  }
}

async function speaks({ run, pluginDir }: NetworkFactsOptions, signal: AbortSignal): Promise<string> {
  const missing = await hasPlugin(pluginDir, 'bridge');
  if (missing !== 'yes') return missing;
  const input = JSON.stringify(loopbackConfig('drover'));
  const env = { CNI_COMMAND: 'VERSION' };
  const { stdout } = await run(path.join(pluginDir, 'bridge'), [], { input, env, signal, timeoutMs: 10_000 });
  try {
    const { supportedVersions = [] } = JSON.parse(stdout) as { readonly supportedVersions?: string[] };
    if (supportedVersions.includes(cniVersion)) return 'yes';
    return `the plugins speak ${supportedVersions.join(', ')}; wanted ${cniVersion}`;
  } catch {
    return `the plugins in ${pluginDir} do not say which versions they speak`;
  }
}

/** Whether the kernel makes bridges, and whether those tell VLANs apart, is only known from one. */
async function probeBridge({ ip, probe }: NetworkFactsOptions, signal: AbortSignal): Promise<KernelFacts> {
  const stale = (await isThere(probe)) ? [`link delete dev ${probe}`] : [];
  const failure = await ip([...stale, `link add name ${probe} type bridge`], signal).catch(
    (error: unknown) => asDroverError(error).message,
  );
  if (failure !== undefined) return { bridge: failure, vlan: failure };
  const filtering = await readInterface(probe, 'bridge/vlan_filtering');
  await ip([`link delete dev ${probe}`], signal);
  const vlan = filtering === undefined ? 'the kernel of this host has no VLANs on bridges' : 'yes';
  return { bridge: 'yes', vlan };
}
