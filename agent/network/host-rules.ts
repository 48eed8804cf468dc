import { DroverError, isKind } from '#shared/errors.ts';
import type { Attachment, InstanceId } from '#shared/model.ts';
import type { CommandResult, HostCommands } from '../host/command.ts';
import { subnetsOf } from './cni-config.ts';
import { idPattern } from './network-id.ts';

export interface HostRules {
  /** Makes the masquerading of this host that of these attachments, all at once. */
  masquerade(attachments: readonly Attachment[], signal: AbortSignal): Promise<void>;
  /**
   * Lets through what ports lead to the guest at these addresses, where the firewall plugin is in use: by
   * itself it lets in answers alone. Without addresses: no more.
   */
  admit(id: InstanceId, addresses: readonly string[], signal: AbortSignal): Promise<void>;
  /**
   * Removes the chains that the plugin shares between all guests, where no rule of anybody is left in them.
   */
  removeIdleChains(plugin: 'portmap' | 'firewall', signal: AbortSignal): Promise<void>;
  /** Whose ports are published here under our name, as the rules themselves say. */
  listPublished(signal: AbortSignal): Promise<InstanceId[]>;
}

const toolMs = 30_000;
const families = ['iptables', 'ip6tables'] as const;

/** What the plugins make once, and leave for ever. */
const sharedChains = {
  portmap: {
    table: 'nat',
    entry: 'CNI-HOSTPORT-DNAT',
    others: ['CNI-HOSTPORT-SETMARK', 'CNI-HOSTPORT-MASQ'],
    standing: [/^-A CNI-HOSTPORT-SETMARK .*-j MARK /, /^-A CNI-HOSTPORT-MASQ .*-j MASQUERADE$/],
  },
  firewall: {
    table: 'filter',
    entry: 'CNI-FORWARD',
    others: ['CNI-ADMIN'],
    standing: [/^-A CNI-FORWARD .*-j CNI-ADMIN$/],
  },
} as const;

/** `name` is ours among all who use the plugins of this host: a letter, then letters, digits and "-". */
export function createHostRules(options: {
  readonly run: HostCommands['run'];
  readonly name: string;
}): HostRules {
  const { run, name } = options;
  const table = name.replaceAll('-', '_');
  let loaded: string | undefined;

  async function save(tool: (typeof families)[number], from: string, signal: AbortSignal): Promise<string[]> {
    const saved = await unlessMissing(run(`${tool}-save`, ['-t', from], { signal, timeoutMs: toolMs }));
    return saved?.exitCode === 0 ? saved.stdout.split('\n') : [];
  }

  /** All of the lines or none. The tool's words when it fails. */
  async function change(
    tool: (typeof families)[number],
    at: string,
    lines: readonly string[],
    signal: AbortSignal,
  ): Promise<string> {
    if (lines.length === 0) return '';
    const input = [`*${at}`, ...lines, 'COMMIT', ''].join('\n');
    const args = ['--noflush', '--wait', '5'];
    const { exitCode, stderr } = await run(`${tool}-restore`, args, { input, signal, timeoutMs: toolMs });
    return exitCode === 0 ? '' : stderr.trim().slice(0, 500) || `exit ${exitCode}`;
  }

  return {
    async masquerade(attachments, signal) {
      const input = masqueradeScript(table, attachments);
      if (input === loaded) return;
      const loading = run('nft', ['-f', '-'], { input, signal, timeoutMs: toolMs });
      const isNeeded = attachments.some((one) => one.masquerade);
      const result = isNeeded ? await loading : await unlessMissing(loading);
      const { exitCode, stderr } = result ?? { exitCode: 0, stderr: '' };
      if (exitCode !== 0) throw new DroverError('internal', `nft: ${stderr.trim().slice(0, 500)}`);
      loaded = input;
    },
    async admit(id, addresses, signal) {
      for (const tool of families) {
        const saved = await save(tool, 'filter', signal);
        const own = addresses.filter((one) => one.includes(':') === (tool === 'ip6tables'));
        const failure = await change(tool, 'filter', admitting(saved, `${name} ${id}`, own), signal);
        if (failure !== '') throw new DroverError('internal', `${tool}-restore: ${failure}`);
      }
    },
    async removeIdleChains(plugin, signal) {
      const { table: from } = sharedChains[plugin];
      // Where somebody has come into a chain meanwhile, it fails, and they stay as they are.
      for (const tool of families)
        await change(tool, from, idleChains(await save(tool, from, signal), plugin), signal);
    },
    async listPublished(signal) {
      const lines = await Promise.all(families.map((tool) => save(tool, 'nat', signal)));
      return publishedBy(lines.flat(), name);
    },
  };
}

/** Where a tool is not installed, none of its rules stand. */
async function unlessMissing(running: Promise<CommandResult>): Promise<CommandResult | undefined> {
  try {
    return await running;
  } catch (error) {
    if (isKind(error, 'unavailable')) return undefined;
    throw error;
  }
}

/** The table anew; without a rule it is gone. */
export function masqueradeScript(table: string, attachments: readonly Attachment[]): string {
  const rules = attachments
    .filter(({ masquerade }) => masquerade)
    .flatMap((one) => subnetsOf(one).map((subnet) => masqueradeRule(subnet, one.bridge)));
  const anew = [`table inet ${table}`, `delete table inet ${table}`];
  if (rules.length === 0) return `${anew.join('\n')}\n`;
  const chain = [
    `table inet ${table} {`,
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    ...[...new Set(rules)].sort((one, other) => (one < other ? -1 : 1)),
    '  }',
    '}',
  ];
  return `${[...anew, ...chain].join('\n')}\n`;
}

function masqueradeRule(subnet: string, bridge: string): string {
  const [ip, group] = subnet.includes(':') ? ['ip6', 'ff00::/8'] : ['ip', '224.0.0.0/4'];
  const elsewhere = `${ip} daddr != { ${subnet}, ${group} } oifname != "${bridge}"`;
  return `    ${ip} saddr ${subnet} ${elsewhere} masquerade`;
}

/** Rules for the plugin's chain of overrides, in the place of those with the same comment. */
export function admitting(saved: readonly string[], comment: string, addresses: readonly string[]): string[] {
  if (!saved.some((line) => line.startsWith(':CNI-ADMIN '))) return [];
  const before = saved.filter((line) => line.startsWith('-A CNI-ADMIN ') && line.includes(`"${comment}"`));
  const match = `-m conntrack --ctstate DNAT -m comment --comment "${comment}" -j ACCEPT`;
  return [
    ...before.map((line) => line.replace('-A ', '-D ')),
    ...addresses.map((address) => `-A CNI-ADMIN -d ${address.split('/')[0]} ${match}`),
  ];
}

/** What undoes the plugin's shared chains; empty where one of them holds more than the plugin put there. */
export function idleChains(saved: readonly string[], plugin: 'portmap' | 'firewall'): string[] {
  const { entry, others, standing } = sharedChains[plugin];
  const chains = [entry, ...others].filter((chain) => saved.some((line) => line.startsWith(`:${chain} `)));
  if (chains.length === 0) return [];
  const isIn = (line: string): boolean => chains.some((chain) => line.startsWith(`-A ${chain} `));
  const leadsIn = (line: string): boolean => chains.some((chain) => line.endsWith(` -j ${chain}`));
  const inside = saved.filter(isIn);
  if (inside.some((line) => !standing.some((pattern) => pattern.test(line)))) return [];
  const jumps = saved.filter((line) => leadsIn(line) && !isIn(line));
  return [
    ...jumps.map((line) => line.replace('-A ', '-D ')),
    ...inside.map((line) => line.replace('-A ', '-D ')),
    ...chains.map((chain) => `-X ${chain}`),
  ];
}

/** portmap comments each of its rules: dnat name: "NAME" id: "ID". */
export function publishedBy(saved: readonly string[], name: string): InstanceId[] {
  const mark = `dnat name: \\"${name}\\" id: \\"`;
  const ids = saved.flatMap((line) => {
    const at = line.indexOf(mark);
    return at < 0 ? [] : [line.slice(at + mark.length).split('\\"')[0] ?? ''];
  });
  return [...new Set(ids)].filter((id) => idPattern.test(id)) as InstanceId[];
}
