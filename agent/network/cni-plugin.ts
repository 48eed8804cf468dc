import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';

export type PluginName = 'bridge' | 'loopback' | 'portmap' | 'firewall';

export interface PluginCall {
  readonly id: InstanceId;
  /** Path of the namespace; empty where it is gone. */
  readonly netns: string;
  /** "eth0". */
  readonly interface: string;
}

export interface PluginResult {
  readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string }[];
}

/** Runs one plugin of the Container Network Interface. */
export type CallPlugin = (
  command: 'ADD' | 'DEL',
  plugin: PluginName,
  config: object,
  call: PluginCall,
  signal: AbortSignal,
) => Promise<PluginResult>;

const pluginMs = 30_000;

export function createPlugins(options: {
  readonly run: HostCommands['run'];
  readonly pluginDir: string;
}): CallPlugin {
  const { run, pluginDir } = options;
  return async (command, plugin, config, call, signal) => {
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: call.id,
      CNI_NETNS: call.netns,
      CNI_IFNAME: call.interface,
      CNI_PATH: pluginDir,
    };
    const input = JSON.stringify(config);
    const tool = path.join(pluginDir, plugin);
    const { exitCode, stdout, stderr } = await run(tool, [], { env, input, signal, timeoutMs: pluginMs });
    if (exitCode === 0) return stdout.trim() === '' ? {} : (JSON.parse(stdout) as PluginResult);
    throw pluginError(
      `${plugin} ${command}`,
      wordsOf(stdout) || stderr.trim() || `exit ${exitCode}`,
      call.id,
    );
  };
}

/** A plugin says what failed as JSON on its standard output. */
function wordsOf(stdout: string): string {
  try {
    const { msg, details } = JSON.parse(stdout) as { readonly msg?: unknown; readonly details?: unknown };
    return [msg, details].filter((part) => typeof part === 'string' && part !== '').join(': ');
  } catch {
    return '';
  }
}

function pluginError(call: string, words: string, id: InstanceId): DroverError {
  const gone = /failed to open netns|no such process/i.test(words);
  const message = gone
    ? 'the guest has no network namespace any more'
    : `CNI ${call}: ${words.slice(0, 500)}`;
  return new DroverError(gone ? 'failed-precondition' : 'internal', message, { subject: { instance: id } });
}
