/** Facts of several versions → TypeScript types of the methods that Drover calls. */
import {
  subKeysOf,
  type Facts,
  type ValueFacts,
  type ValuesFacts,
} from '../../control-plane/backends/proxmox/schema/facts.ts';

/** What Drover calls. Each has its types; of all others only facts are kept. */
const called = [
  /^GET \/(version|nodes|pools|storage)$/,
  /^(GET|POST|PUT|DELETE) \/pools$/,
  /^GET \/pools\/\{poolid\}$/,
  /^(GET|POST) \/access\/ticket$/,
  /^GET \/access\/(permissions|users|roles|users\/\{userid\}\/token)$/,
  /^(POST|DELETE) \/access\/users\/\{userid\}\/token\/\{tokenid\}$/,
  /^GET \/cluster\/(resources|tasks|status|nextid|options|config\/nodes)$/,
  /^\S+ \/cluster\/ha\/(resources|groups|rules)(\/|$)/,
  /^GET \/cluster\/ha\/status\/(current|manager_status)$/,
  /^GET \/nodes\/\{node\}\/(status|version|time|rrddata|network|query-url-metadata|query-oci-repo-tags)$/,
  /^GET \/nodes\/\{node\}\/storage(\/\{storage\}\/(status|rrddata))?$/,
  /^\S+ \/nodes\/\{node\}\/storage\/\{storage\}\/content(\/\{volume\})?$/,
  /^POST \/nodes\/\{node\}\/storage\/\{storage\}\/(upload|download-url|oci-registry-pull)$/,
  /^\S+ \/nodes\/\{node\}\/tasks(\/\{upid\}(\/(status|log))?)?$/,
  /^\S+ \/nodes\/\{node\}\/(lxc|qemu)(\/\{vmid\})?$/,
  /^\S+ \/nodes\/\{node\}\/(lxc|qemu)\/\{vmid\}\/(config|pending|resize|clone|template|migrate)$/,
  /^\S+ \/nodes\/\{node\}\/(lxc|qemu)\/\{vmid\}\/(feature|rrddata|interfaces)$/,
  /^\S+ \/nodes\/\{node\}\/(lxc|qemu)\/\{vmid\}\/(snapshot|status|agent|cloudinit)(\/|$)/,
  /^\S+ \/nodes\/\{node\}\/(lxc|qemu)\/\{vmid\}\/(move_volume|move_disk|unlink)$/,
  /^\S+ \/nodes\/\{node\}\/(lxc|qemu)\/\{vmid\}\/(vncproxy|termproxy|vncwebsocket)$/,
];

const pascal = (name: string): string =>
  name
    .replace(/^pve-(qm-|vm-|qemu-)?/, 'pve-')
    .replace(/\[n\]/g, '')
    .split(/[^A-Za-z0-9]+/)
    .map((part) => part.slice(0, 1).toUpperCase() + part.slice(1))
    .join('');

const keyOf = (name: string): string => (/^[A-Za-z_]\w*$/.test(name) ? name : `'${name}'`);

/** 'mp0', 'mp1', … of eight or more become one `mp${number}`. */
function wordsType(words: readonly string[]): string {
  const stems = Map.groupBy(words, (word) => word.replace(/\d+$/, ''));
  const types = [...stems].flatMap(([stem, members]) =>
    members.length < 8 ? members.map((word) => `'${word}'`) : [`\`${stem}\${number}\``],
  );
  return [...new Set(types)].join(' | ');
}

function typeOf(facts: Facts, value: ValueFacts): readonly string[] {
  const keys = subKeysOf(facts, value);
  if (keys !== undefined) {
    const bare = Object.values(keys).find((key) => key.defaultKey === true)?.type;
    const scalars =
      bare === 'integer' || bare === 'number' ? ['number'] : bare === 'boolean' ? ['boolean'] : [];
    return [pascal(value.format ?? ''), 'string', ...scalars];
  }
  if (value.enum !== undefined) return wordsType(value.enum).split(' | ');
  if (value.type === 'boolean') return ['boolean'];
  if (value.type === 'integer' || value.type === 'number') return ['number'];
  if (value.type === 'array') return ['string', 'readonly string[]'];
  return value.list === true ? ['string', 'readonly string[]'] : ['string'];
}

interface Member {
  readonly types: Set<string>;
  isOptional: boolean;
  versions: number;
}

/** The members of all versions; one that a version lacks, or does not need, is optional. */
function membersOf(sides: readonly { facts: Facts; values: ValuesFacts }[]): string[] {
  const members = new Map<string, Member>();
  for (const { facts, values } of sides)
    for (const [name, value] of Object.entries(values)) {
      if (value.alias !== undefined) continue;
      const member = members.get(name) ?? { types: new Set(), isOptional: false, versions: 0 };
      for (const type of typeOf(facts, value)) member.types.add(type);
      member.isOptional ||= value.optional === true || value.onlyFor !== undefined;
      member.versions += 1;
      members.set(name, member);
    }
  return [...members]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => {
      const types = member.types.has('string') ? dropWords(member.types) : [...member.types];
      const type = types.join(' | ');
      const isFamily = name.endsWith('[n]');
      if (isFamily) return `  readonly [name: \`${name.slice(0, -3)}\${number}\`]: ${type} | undefined;`;
      const isOptional = member.isOptional || member.versions < sides.length;
      return `  readonly ${keyOf(name)}${isOptional ? '?' : ''}: ${type}${isOptional ? ' | undefined' : ''};`;
    });
}

/** A union with `string` says no more than `string` does. */
const dropWords = (types: ReadonlySet<string>): string[] => [...types].filter((type) => !/^['`]/.test(type));

function writeFormats(versions: readonly Facts[], names: ReadonlySet<string>): string {
  const all = [...names].sort().map((name) => {
    const sides = versions.flatMap((facts) => {
      const values = subKeysOf(facts, { format: name });
      return values === undefined ? [] : [{ facts, values }];
    });
    return `export interface ${pascal(name)} {\n${membersOf(sides).join('\n')}\n}`;
  });
  return all.join('\n\n');
}

export function writeTypes(versions: readonly Facts[]): string {
  const names = [...new Set(versions.flatMap((facts) => Object.keys(facts.methods)))]
    .filter((name) => called.some((one) => one.test(name)))
    .sort();
  const formats = new Set<string>();
  const methods = names.map((name) => {
    const sides = versions.flatMap((facts) => {
      const values = facts.methods[name]?.parameters;
      return values === undefined ? [] : [{ facts, values }];
    });
    for (const { facts, values } of sides)
      for (const value of Object.values(values))
        if (value.format !== undefined && subKeysOf(facts, value) !== undefined) formats.add(value.format);
    const members = membersOf(sides);
    return members.length === 0
      ? `  '${name}': Record<never, never>;`
      : `  '${name}': {\n${members.map((line) => `  ${line}`).join('\n')}\n  };`;
  });
  return [
    '/** Parameters of the methods that Drover calls. Generated: npm run proxmox:schema. */',
    writeFormats(versions, formats),
    `export interface Methods {\n${methods.join('\n')}\n}\n`,
  ].join('\n\n');
}
