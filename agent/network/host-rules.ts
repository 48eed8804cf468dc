import { DroverError } from '#shared/errors.ts';
import type { Attachment, InstanceId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { subnetsOf } from './cni-config.ts';
import { idPattern } from './network-id.ts';

export interface HostRules {
  /** Makes the masquerading of this host that of these attachments, all at once. */
  masquerade(attachments: readonly Attachment[], signal: AbortSignal): Promise<void>;
  /** Removes the chains that the plugin shares between all guests, where no rule of anybody is left in them. */
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
    const { exitCode, stdout } = await run(`${tool}-save`, ['-t', from], { signal, timeoutMs: toolMs });
    return exitCode === 0 ? stdout.split('\n') : [];
  }

  return {
    async masquerade(attachments, signal) {
      const input = masqueradeScript(table, attachments);
      if (input === loaded) return;
      const { exitCode, stderr } = await run('nft', ['-f', '-'], { input, signal, timeoutMs: toolMs });
      if (exitCode !== 0) throw new DroverError('internal', `nft: ${stderr.trim().slice(0, 500)}`);
      loaded = input;
    },
    async removeIdleChains(plugin, signal) {
      for (const tool of families) {
        const { table: from } = sharedChains[plugin];
        const undo = idleChains(await save(tool, from, signal), plugin);
        if (undo.length === 0) continue;
        const input = [`*${from}`, ...undo, 'COMMIT', ''].join('\n');
        // All or nothing: where somebody has come into the chain meanwhile, it stays as it is.
        await run(`${tool}-restore`, ['--noflush', '--wait', '5'], { input, signal, timeoutMs: toolMs });
      }
    },
    async listPublished(signal) {
      const lines = await Promise.all(families.map((tool) => save(tool, 'nat', signal)));
      return publishedBy(lines.flat(), name);
    },
  };
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
