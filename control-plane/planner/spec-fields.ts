import { stringify } from 'yaml';
import type { GuestConfig, PublishedPort, WorkloadSpec } from '#shared/model.ts';
import { formatCpu, formatDuration, formatMib } from '#shared/units.ts';
import { clusterFields, vmFields } from './cluster-fields.ts';

/** What a document says, without its name. */
export interface Described {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: WorkloadSpec;
}

export interface FieldChange {
  /** Path as in the YAML: "resources.memory". */
  readonly field: string;
  /** As YAML writes it. Empty: not set. */
  readonly before: string;
  readonly after: string;
}

/** The fields that differ, in the order of the YAML. Nothing before: every field that is set. */
export function diffFields(before: Described | undefined, after: Described): FieldChange[] {
  return diffTexts(before === undefined ? new Map() : fieldsOf(before), fieldsOf(after));
}

type Texts = ReadonlyMap<string, string>;

export const diffTexts = (before: Texts, after: Texts): FieldChange[] =>
  [...new Set([...after.keys(), ...before.keys()])]
    .map((field) => ({ field, before: before.get(field) ?? '', after: after.get(field) ?? '' }))
    .filter((change) => change.before !== change.after);

/** Fields that are set, as YAML writes them. */
export const textsOf = (fields: readonly (readonly [string, unknown])[]): Texts =>
  new Map(
    fields.map(([field, value]) => [field, yamlText(field, value)] as const).filter(([, text]) => text),
  );

/** Storage, network and rights; a claim and a network by its name. */
function guestFields(spec: GuestConfig): (readonly [string, unknown])[] {
  const { snapshots, dns, security } = spec;
  const counted = (value: number): number | '' => (value === 0 ? '' : value);
  return [
    ['root.pool', spec.rootPool],
    ...spec.volumes.map(({ name, mountPath, sizeMib, pool, readOnly, keep }): [string, unknown] => [
      `volumes.${name}`,
      {
        mount: mountPath,
        ...(sizeMib > 0 && { size: formatMib(sizeMib) }),
        ...(pool !== '' && { pool }),
        ...(readOnly && { readOnly }),
        ...(keep && { keep }),
      },
    ]),
    ['snapshots.hourly', counted(snapshots.hourly)],
    ['snapshots.daily', counted(snapshots.daily)],
    ['snapshots.weekly', counted(snapshots.weekly)],
    ...spec.networks.map(({ network, addresses }): [string, unknown] => [
      `networks.${network}`,
      addresses.length > 0 ? addresses : 'any address',
    ]),
    ['ports', spec.ports.map(formatPort)],
    ['dns.servers', dns.servers],
    ['dns.search', dns.search],
    ['dns.options', dns.options],
    ['devices', spec.devices],
    ...(['privileged', 'nesting', 'ownIdRange'] as const).map((field): [string, unknown] => [
      `security.${field}`,
      security[field] || '',
    ]),
    ['security.addCapabilities', security.addCapabilities],
    ['security.dropCapabilities', security.dropCapabilities],
    ['startOrder', counted(spec.startOrder)],
    ...entries('lxc', spec.lxcKeys),
    ...(spec.vm === undefined ? [] : vmFields(spec.vm)),
    ...(spec.cluster === undefined ? [] : clusterFields(spec.cluster)),
  ];
}

/** "8080:80/tcp", "127.0.0.1:8080:80/tcp". */
function formatPort({ hostPort, guestPort, protocol, hostAddress }: PublishedPort): string {
  const host = hostPort === 0 ? 'any' : `${hostPort}`;
  return `${hostAddress === '' ? '' : `${hostAddress}:`}${host}:${guestPort}/${protocol}`;
}

function fieldsOf({ labels, annotations, spec }: Described): Texts {
  const { resources, restart, placement, update } = spec;
  const fields: readonly (readonly [string, unknown])[] = [
    ...entries('labels', labels),
    ...entries('annotations', annotations),
    ['image', spec.image],
    ['runtime', spec.runtime],
    ['replicas', spec.replicas],
    ['command', spec.command],
    ...entries('env', spec.env),
    ['resources.cpu', resources.cpuMillicores === 0 ? '' : formatCpu(resources.cpuMillicores)],
    ['resources.memory', resources.memoryMib === 0 ? '' : formatMib(resources.memoryMib)],
    ['resources.disk', resources.diskMib === 0 ? '' : formatMib(resources.diskMib)],
    ['resources.pids', resources.pids],
    ['network', spec.network],
    ...guestFields(spec),
    ['restart.policy', restart.policy],
    ['restart.maxAttempts', restart.maxAttempts === 0 ? '' : restart.maxAttempts],
    ['placement.require', placement.require],
    ['placement.strategy', placement.strategy],
    ['update.readyAfter', formatDuration(update.readyAfterMs)],
    ['stop.grace', formatDuration(spec.stopGraceMs)],
    ['user', spec.user],
    ['workingDir', spec.workingDir],
    ['imageCredential', spec.imageCredential],
  ];
  return textsOf(fields);
}

export const entries = (field: string, record: Readonly<Record<string, string>>): [string, string][] =>
  Object.entries(record)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => [`${field}.${key}`, value]);

/** An empty value is a value in a map of the user's own, and "not set" elsewhere. */
function yamlText(field: string, value: unknown): string {
  const isOwn = /^(?:labels|annotations|env)\./.test(field);
  if (Array.isArray(value) ? value.length === 0 : value === '' && !isOwn) return '';
  return stringify(value, {
    collectionStyle: 'flow',
    lineWidth: 0,
    defaultStringType: plainOrQuoted(value),
  }).trim();
}

const plainOrQuoted = (value: unknown): 'PLAIN' | 'QUOTE_DOUBLE' =>
  typeof value === 'string' && /[\n\r]/.test(value) ? 'QUOTE_DOUBLE' : 'PLAIN';
