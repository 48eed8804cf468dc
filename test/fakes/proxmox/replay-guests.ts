/** The guests that a recorded flow finds: what it reads of them before, or in spite of, what it does. */
import type { Exchange, Recording } from './recording.ts';
import type { Guest, GuestConfig } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

export interface Evidence {
  kind: Guest['kind'];
  node: string;
  config: GuestConfig | undefined;
  row: Row | undefined;
  /** The exchange that shows it first. */
  readonly since: number;
  running: boolean | undefined;
  /** Keys that the flow has written. */
  readonly written: Set<string>;
  changed: boolean;
}

const guestPath = /^\/nodes\/([^/]+)\/(lxc|qemu)\/(\d+)(?:\/(.*))?$/;
export const dataOf = ({ response }: Exchange): unknown =>
  (response?.body as { data?: unknown } | undefined)?.data;
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;
const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a list before that exchange showed all guests but this one: it was made in between, unrecorded. */
export function cameLater({ exchanges }: Recording, vmid: number, { since, kind, node }: Evidence): boolean {
  return exchanges.slice(0, since).some((exchange) => {
    const { path, params } = exchange.request;
    const isList = path === '/cluster/resources' || path === `/nodes/${node}/${kind}`;
    const rows = dataOf(exchange);
    if (!isList || !Array.isArray(rows) || (params?.['type'] ?? 'vm') !== 'vm') return false;
    return !rows.some((row) => isRow(row) && row['vmid'] === vmid);
  });
}

/** VMIDs that the flow makes itself, with the exchange that did. */
function madeInFlow({ exchanges }: Recording): Map<number, number> {
  const made = new Map<number, number>();
  for (const [index, { request, response }] of exchanges.entries()) {
    if (request.method !== 'POST' || response?.status !== 200) continue;
    const { vmid, newid } = request.params ?? {};
    const fresh = /\/(?:lxc|qemu)$/.test(request.path) ? vmid : newid;
    if (fresh !== undefined && !made.has(Number(fresh))) made.set(Number(fresh), index);
  }
  return made;
}

/** The guests that a flow finds, by VMID. */
export function guestsFound(recording: Recording): Map<number, Evidence> {
  const made = madeInFlow(recording);
  const found = new Map<number, Evidence>();
  const evidence = (vmid: number, kind: Guest['kind'], node: string, index: number): Evidence | undefined => {
    if ((made.get(vmid) ?? Number.POSITIVE_INFINITY) < index) return undefined;
    const known = found.get(vmid);
    if (known !== undefined) return known;
    const fresh = {
      kind,
      node,
      config: undefined,
      row: undefined,
      since: index,
      running: undefined,
      written: new Set<string>(),
      changed: false,
    };
    found.set(vmid, fresh);
    return fresh;
  };
  for (const [index, exchange] of recording.exchanges.entries()) {
    readRows(exchange, index, evidence);
    readBackup(recording, exchange, index, evidence);
    readGuestPath(recording, exchange, index, evidence);
  }
  return found;
}

type EvidenceOf = (vmid: number, kind: Guest['kind'], node: string, index: number) => Evidence | undefined;

function readRows(exchange: Exchange, index: number, evidence: EvidenceOf): void {
  const { path, method } = exchange.request;
  const list = /^\/nodes\/([^/]+)\/(lxc|qemu)\/?$/.exec(path);
  if (method !== 'GET' || (list === null && path !== '/cluster/resources')) return;
  const rows = dataOf(exchange);
  for (const row of Array.isArray(rows) ? rows : []) {
    if (!isRow(row) || row['vmid'] === undefined) continue;
    const kind = (list?.[2] ?? row['type']) as Guest['kind'];
    const known = evidence(Number(row['vmid']), kind, String(list?.[1] ?? row['node']), index);
    if (known === undefined) continue;
    if (known.row?.['name'] === undefined && !known.changed) known.row = row;
    if (row['status'] !== 'unknown') known.running ??= row['status'] === 'running';
  }
}

/** A write tells of a guest where its task ended well. */
function endedWell(recording: Recording, exchange: Exchange): boolean {
  const data = dataOf(exchange);
  if (typeof data !== 'string' || !data.startsWith('UPID')) return true;
  const ended = recording.exchanges.find(({ response }) => {
    const row = (response?.body as { data?: unknown } | undefined)?.data;
    return isRow(row) && row['upid'] === data && row['status'] === 'stopped';
  });
  return ended === undefined || /^(?:OK|WARNINGS)/.test(String((dataOf(ended) as Row)['exitstatus']));
}

function readGuestPath(recording: Recording, exchange: Exchange, index: number, evidence: EvidenceOf): void {
  const { request, response } = exchange;
  const match = guestPath.exec(request.path);
  if (match === null || response?.status !== 200) return;
  const [, node = '', kind, vmid, rest = ''] = match;
  const data = dataOf(exchange);
  if (
    rest === 'interfaces' ||
    (request.method === 'GET' && !isObject(data)) ||
    !endedWell(recording, exchange)
  )
    return;
  const known = evidence(Number(vmid), kind as Guest['kind'], node, index);
  if (known === undefined) return;
  if (request.method === 'GET' && rest === 'config' && request.params === null) {
    known.config ??= known.changed ? configBefore(data as Row, known.written) : configOf(data as Row);
  }
  if (request.method === 'GET' && rest === 'status/current') {
    known.row ??= data as Row;
    known.running ??= (data as Row)['status'] === 'running';
  }
  if (/^status\/(?:stop|shutdown|reboot|suspend)$/.test(rest)) known.running ??= true;
  if (/^status\/start$/.test(rest) || request.method === 'DELETE') known.running ??= false;
  if (request.method === 'GET' || rest.startsWith('status')) return;
  known.changed = true;
  if (rest === 'template') known.written.add('template');
  if (rest.startsWith('snapshot')) known.written.add('parent');
  if (rest !== 'config') return;
  for (const key of Object.keys(request.params ?? {})) known.written.add(key);
}

/** A backup that ended well had a guest. */
function readBackup(recording: Recording, exchange: Exchange, index: number, evidence: EvidenceOf): void {
  const { path, params } = exchange.request;
  const node = /^\/nodes\/([^/]+)\/vzdump$/.exec(path)?.[1];
  if (node === undefined || exchange.response?.status !== 200 || !endedWell(recording, exchange)) return;
  for (const vmid of String(params?.['vmid']).split(',')) evidence(Number(vmid), 'lxc', node, index);
}

/** As it was read after the flow had changed it, without what the flow wrote. */
function configBefore(data: Row, written: ReadonlySet<string>): GuestConfig {
  const config = configOf(data);
  for (const key of written) delete config[key];
  if (!written.has('template')) return config;
  for (const [key, value] of Object.entries(config)) config[key] = value.replace('/base-', '/vm-');
  return config;
}

function configOf(data: Row): GuestConfig {
  const config: GuestConfig = {};
  for (const [key, value] of Object.entries(data)) {
    if (key === 'digest' || key === 'lock') continue;
    config[key] = key === 'description' ? String(value).replace(/\n$/, '') : String(value);
  }
  return config;
}

export function usualConfig(vmid: number, { kind, row }: Evidence): GuestConfig {
  const memory = String(Number(row?.['maxmem'] ?? (kind === 'lxc' ? 64 : 128) * 1024 ** 2) / 1024 ** 2);
  const given = row as { readonly name?: string; readonly tags?: string } | undefined;
  const name = given?.name ?? `${kind === 'lxc' ? 'ct' : 'vm'}${vmid}`;
  const more: GuestConfig = {
    ...(given?.tags === undefined ? {} : { tags: given.tags }),
    ...(Number(row?.['template'] ?? 0) === 1 ? { template: '1' } : {}),
  };
  if (kind === 'qemu') return { name, memory, ostype: 'l26', kvm: '0', ...more };
  const rootfs = `btr:${vmid}/subvol-${vmid}-disk-0.subvol,size=0T`;
  return {
    arch: 'amd64',
    hostname: name,
    memory,
    ostype: 'alpine',
    rootfs,
    swap: '0',
    unprivileged: '1',
    ...more,
  };
}
