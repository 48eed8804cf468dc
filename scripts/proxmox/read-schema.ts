/**
 * The machine-readable schema of a Proxmox host → facts: names, types, ranges, formats. No prose passes:
 * what is not asked for by name here is dropped.
 */
import type {
  Facts,
  MethodFacts,
  ValueFacts,
  ValuesFacts,
} from '../../control-plane/backends/proxmox/schema/facts.ts';
import { subKeysOfTypeText } from './read-type-text.ts';

interface SchemaNode {
  readonly path: string;
  readonly info?: Readonly<Record<string, SchemaMethod>>;
  readonly children?: readonly SchemaNode[];
}
interface SchemaMethod {
  readonly parameters?: SchemaParameters;
  readonly permissions?: { readonly user?: string; readonly check?: readonly unknown[] };
}
interface SchemaParameters {
  readonly additionalProperties?: number;
  readonly properties?: Readonly<Record<string, SchemaValue>>;
  readonly allOf?: readonly SchemaParameters[];
  readonly oneOf?: readonly (SchemaParameters & { readonly 'instance-type': string })[];
  readonly 'type-property'?: string;
  readonly 'type-property-schema'?: SchemaValue;
}
type SchemaValue = Readonly<Record<string, unknown>>;

/** What a manager of guests calls, with its verb. Firewalls, Ceph, SDN and ACME are not ours. */
const wanted = [
  /^\S+ \/(access|pools|storage|version)(\/|$)/,
  /^GET \/(cluster|nodes|nodes\/\{node\})$/,
  /^\S+ \/cluster\/(resources|tasks|status|nextid|ha|options|log|backup|config)(\/|$)/,
  /^\S+ \/nodes\/\{node\}\/(lxc|qemu|storage|tasks|network|vzdump|config)(\/|$)/,
  /^\S+ \/nodes\/\{node\}\/(status|version|time|dns|hosts|netstat|report|rrd|rrddata|subscription)$/,
  /^\S+ \/nodes\/\{node\}\/(query-url-metadata|query-oci-repo-tags|aplinfo)$/,
  /^\S+ \/nodes\/\{node\}\/(migrateall|startall|stopall|suspendall|wakeonlan)$/,
  /^GET \/nodes\/\{node\}\/capabilities(\/|$)/,
];
const unwanted = /\/firewall(\/|$)|\/access\/(openid|tfa|domains\/\{realm\}\/sync)/;

/** What named formats refuse, and their type texts do not tell. */
const addenda: Readonly<Record<string, ValuesFacts>> = {
  'pve-qm-ipconfig': {
    gw: { format: 'ipv4', requires: 'ip' },
    gw6: { format: 'ipv6', requires: 'ip6' },
    ip: { format: 'pve-ipv4-config' },
    ip6: { format: 'pve-ipv6-config' },
  },
};

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;
const number = (value: unknown): number | undefined =>
  value === undefined || value === null || Number.isNaN(Number(value)) ? undefined : Number(value);

function withoutUndefined<Value extends object>(
  value: { [Key in keyof Value]: Value[Key] | undefined },
): Value {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Value;
}

const sorted = <Value>(record: Readonly<Record<string, Value>>): Record<string, Value> =>
  Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Names the sub-keys that it meets, equal ones once. */
function formatRegister() {
  const formats = new Map<string, ValuesFacts>();
  return {
    formats,
    add(name: string, keys: ValuesFacts): string {
      for (let count = 1; ; count += 1) {
        const candidate = count === 1 ? name : `${name}#${count}`;
        const taken = formats.get(candidate);
        if (taken === undefined) formats.set(candidate, keys);
        if (taken === undefined || JSON.stringify(taken) === JSON.stringify(keys)) return candidate;
      }
    },
  };
}

/** A sub-key's pattern or its shape has semicolons: `fstype;fstype;...`. */
const isList = (value: SchemaValue): boolean =>
  value['type'] === 'string' &&
  [value['pattern'], value['format_description']].some((one) => text(one)?.includes(';'));

function valueOf(value: SchemaValue, formatName: string | undefined): ValueFacts {
  const items = value['items'] as SchemaValue | undefined;
  const words = value['enum'] as readonly unknown[] | undefined;
  return withoutUndefined<ValueFacts>({
    type: text(value['type']) as ValueFacts['type'],
    optional: Number(value['optional'] ?? 0) === 1 ? true : undefined,
    minimum: number(value['minimum']),
    maximum: number(value['maximum']),
    minLength: number(value['minLength']),
    maxLength: number(value['maxLength']),
    enum: words?.map(String),
    pattern: text(value['pattern']),
    format: formatName,
    items: items === undefined ? undefined : valueOf({ type: 'string', ...items }, text(items['format'])),
    list: isList(value) ? true : undefined,
    requires: text(value['requires']),
    defaultKey: Number(value['default_key'] ?? 0) === 1 ? true : undefined,
    alias: text(value['alias']),
    keyAlias: text(value['keyAlias']),
  });
}

/** One flat set; what only some values of `type` take says so. */
function flatten(parameters: SchemaParameters): Readonly<Record<string, SchemaValue>> {
  const flat: Record<string, SchemaValue> = { ...parameters.properties };
  for (const part of parameters.allOf ?? []) Object.assign(flat, flatten(part));
  const kinds = parameters.oneOf ?? [];
  for (const kind of kinds)
    for (const [name, value] of Object.entries(kind.properties ?? {})) {
      const onlyFor = [...((flat[name]?.['onlyFor'] as string[]) ?? []), kind['instance-type']];
      flat[name] = { ...flat[name], ...value, onlyFor };
    }
  const discriminator = parameters['type-property'];
  if (discriminator !== undefined) flat[discriminator] = parameters['type-property-schema'] ?? {};
  return flat;
}

/** "POST /nodes/{node}/lxc" with net[n] → "lxc.net[n]"; the same keys in another method get the same name. */
function areaOf(method: string): string {
  const names = (method.split(' ')[1] ?? '')
    .split('/')
    .filter((part) => part !== '' && !part.startsWith('{'));
  return (names[0] === 'nodes' ? names[1] : names[0]) ?? 'root';
}

export function factsOfSchema(tree: readonly SchemaNode[], version: string): Facts {
  const register = formatRegister();
  const methods: Record<string, MethodFacts> = {};

  function formatOf(method: string, name: string, value: SchemaValue): string | undefined {
    const format = value['format'];
    if (format !== null && typeof format === 'object') {
      const keys = Object.entries(format as Record<string, SchemaValue>);
      const facts = keys.map(([key, one]) => [key, valueOf(one, text(one['format']))] as const);
      return register.add(`${areaOf(method)}.${name}`, sorted(Object.fromEntries(facts)));
    }
    const named = text(format);
    const keys = named === undefined ? undefined : subKeysOfTypeText(text(value['typetext']) ?? '');
    if (named === undefined || keys === undefined) return named;
    const more = addenda[named] ?? {};
    const entries = Object.entries(keys).map(([key, one]) => [key, { ...one, ...more[key] }] as const);
    return register.add(named, sorted(Object.fromEntries(entries)));
  }

  function readMethod(method: string, { parameters = {}, permissions }: SchemaMethod): MethodFacts {
    const permission = (permissions?.check ?? permissions?.user) as MethodFacts['permission'];
    const all = Object.entries(flatten(parameters)).map(([name, value]) => {
      const onlyFor = value['onlyFor'] as readonly string[] | undefined;
      const facts = valueOf(value, formatOf(method, name, value));
      return [name, onlyFor === undefined ? facts : { ...facts, onlyFor }] as const;
    });
    return {
      parameters: sorted(Object.fromEntries(all)),
      ...(Number(parameters.additionalProperties ?? 0) === 1 ? { open: true } : {}),
      ...(permission === undefined ? {} : { permission }),
    };
  }

  function walk(nodes: readonly SchemaNode[]): void {
    for (const node of nodes) {
      for (const [verb, info] of Object.entries(node.info ?? {})) {
        const name = `${verb} ${node.path}`;
        if (wanted.some((one) => one.test(name)) && !unwanted.test(name))
          methods[name] = readMethod(name, info);
      }
      walk(node.children ?? []);
    }
  }
  walk(tree);
  return { version, formats: sorted(Object.fromEntries(register.formats)), methods: sorted(methods) };
}

/** A host gives it as the API viewer's script, `const apiSchema = […]`; the bare array will do as well. */
export function parseSchema(file: string): readonly SchemaNode[] {
  const start = file.indexOf('[');
  const end = file.startsWith('[') ? file.length : file.search(/^\]\s*;?\s*$/m) + 1;
  if (start < 0 || end <= start) throw new Error('wanted the API viewer’s tree as JSON, found no array');
  return JSON.parse(file.slice(start, end)) as readonly SchemaNode[];
}

/** One line for each format and method: small, and a change shows where it is. */
export function formatFacts(facts: Facts): string {
  const lines = (record: Readonly<Record<string, unknown>>): string =>
    Object.entries(record)
      .map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
      .join(',\n');
  const head = `"version":${JSON.stringify(facts.version)}`;
  return `{${head},\n"formats":{\n${lines(facts.formats)}\n},\n"methods":{\n${lines(facts.methods)}\n}}\n`;
}
