/** Brings the fake into the state that a recorded flow begins with: what it reads before it makes it was there. */
import type { ProxmoxServer } from '../proxmox-server.ts';
import type { Exchange, Recording } from './recording.ts';
import { replayFiles } from './replay-files.ts';
import { haOf } from './ha-engine.ts';
import { sizeIn } from './guest-figures.ts';
import type { Guest, GuestConfig, World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

interface Evidence {
  kind: Guest['kind'];
  node: string;
  config: GuestConfig | undefined;
  row: Row | undefined;
  running: boolean | undefined;
  changed: boolean;
}

const guestPath = /^\/nodes\/([^/]+)\/(lxc|qemu)\/(\d+)(?:\/(.*))?$/;
const dataOf = ({ response }: Exchange): unknown => (response?.body as { data?: unknown } | undefined)?.data;
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;
const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

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
function guestsFound(recording: Recording): Map<number, Evidence> {
  const made = madeInFlow(recording);
  const found = new Map<number, Evidence>();
  const evidence = (vmid: number, kind: Guest['kind'], node: string, index: number): Evidence | undefined => {
    if ((made.get(vmid) ?? Number.POSITIVE_INFINITY) < index) return undefined;
    const known = found.get(vmid);
    if (known !== undefined) return known;
    const fresh = { kind, node, config: undefined, row: undefined, running: undefined, changed: false };
    found.set(vmid, fresh);
    return fresh;
  };
  for (const [index, exchange] of recording.exchanges.entries()) {
    readRows(exchange, index, evidence);
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
    if (known.row?.['name'] === undefined) known.row = row;
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
  if (request.method === 'GET' && rest === 'config' && !known.changed) known.config ??= configOf(data as Row);
  if (request.method === 'GET' && rest === 'status/current') {
    known.row ??= data as Row;
    known.running ??= (data as Row)['status'] === 'running';
  }
  if (/^status\/(?:stop|shutdown|reboot|suspend)$/.test(rest)) known.running ??= true;
  if (/^status\/start$/.test(rest) || request.method === 'DELETE') known.running ??= false;
  if (request.method !== 'GET' && !rest.startsWith('status')) known.changed = true;
}

function configOf(data: Row): GuestConfig {
  const config: GuestConfig = {};
  for (const [key, value] of Object.entries(data)) {
    if (key === 'digest' || key === 'lock') continue;
    config[key] = key === 'description' ? String(value).replace(/\n$/, '') : String(value);
  }
  return config;
}

function usualConfig(vmid: number, { kind, row }: Evidence): GuestConfig {
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

/** Every volume that a configuration names. */
export function placeDisks(world: World, guest: Guest): void {
  for (const [key, value] of Object.entries(guest.config)) {
    const match = /^(?:file=|volume=)?([A-Za-z][\w-]*):([^,]+)/.exec(value);
    if (
      match === null ||
      !/^(?:rootfs|mp\d|unused\d|scsi\d|virtio\d|sata\d|ide\d|efidisk|tpmstate)/.test(key)
    )
      continue;
    const [, storage = '', name = ''] = match;
    if (!world.storages.definitions.has(storage)) continue;
    const volid = `${storage}:${name}`;
    const ending = name.split('.').at(-1) ?? '';
    const format = ['raw', 'qcow2', 'subvol', 'vmdk'].includes(ending) ? ending : 'raw';
    const sizeBytes = sizeIn(value);
    const content = guest.kind === 'lxc' ? 'rootdir' : 'images';
    const createdAt = world.now() - 100;
    const { vmid } = guest;
    world.storages
      .volumes(storage, guest.node)
      .set(volid, { volid, content, format, sizeBytes, usedBytes: 0, vmid, createdAt });
  }
}

function placeGuest(world: World, vmid: number, evidence: Evidence): void {
  const { kind, node } = evidence;
  const config = evidence.config ?? usualConfig(vmid, evidence);
  const guest = world.newGuest({ vmid, kind, node, config });
  // The recorded machines had no system on their disks.
  if (kind === 'qemu') guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
  if (evidence.running === true) {
    guest.status = 'running';
    guest.qmpStatus = 'running';
    guest.pid = 7000;
    guest.startedAtMs = world.clock.nowMs() - 20_000;
  }
  world.guests.set(vmid, guest);
  placeDisks(world, guest);
  const current = evidence.row?.['hastate'];
  if (typeof current !== 'string') return;
  const sid = `${kind === 'lxc' ? 'ct' : 'vm'}:${vmid}`;
  world.ha.resources.set(sid, { sid, state: 'started', fields: {}, current });
}

/** Files that the recorded cluster downloaded; their content was that of an upload. */
function placeDownloads(world: World, { exchanges }: Recording): void {
  const file = exchanges.flatMap(({ request }) => request.files ?? []).find(({ size }) => size > 1_000_000);
  if (file === undefined) return;
  for (const { request } of exchanges) {
    const url = request.params?.['url'];
    if (typeof url !== 'string' || !url.endsWith('/tiny.tar.gz')) continue;
    world.internet.files.set(url, replayFiles(file.sha256, file.size));
  }
}

/** What content lists show that is older than the flow, and what they show before anything came. */
function placeVolumes(world: World, { exchanges }: Recording): void {
  const comes = /\/(?:upload|download-url|vzdump)$/;
  const first = exchanges.findIndex(({ request }) => comes.test(request.path));
  for (const [index, exchange] of exchanges.entries()) {
    const match = /^\/nodes\/([^/]+)\/storage\/([^/]+)\/content$/.exec(exchange.request.path);
    const rows = dataOf(exchange);
    if (match === null || exchange.request.method !== 'GET' || !Array.isArray(rows)) continue;
    const [, node = '', storage = ''] = match;
    const volumes = world.storages.volumes(storage, node);
    for (const row of rows as Row[]) {
      const volid = String(row['volid']);
      const isOlder = Number(row['ctime'] ?? Number.POSITIVE_INFINITY) < world.now();
      if (volumes.has(volid) || (first >= 0 && index > first && !isOlder)) continue;
      volumes.set(volid, {
        volid,
        content: String(row['content']),
        format: String(row['format']),
        sizeBytes: Number(row['size']),
        ...(row['used'] === undefined ? {} : { usedBytes: Number(row['used']) }),
        ...(row['vmid'] === undefined ? {} : { vmid: Number(row['vmid']) }),
        ...(row['ctime'] === undefined ? {} : { createdAt: Number(row['ctime']) }),
      });
    }
  }
}

/** The people of the recordings: alice may look, carol has nothing yet. */
function placePeople({ world }: ProxmoxServer, version: string): void {
  const { access } = world;
  access.roles.set('RigAudit', {
    privileges: new Set(['Datastore.Audit', 'Sys.Audit', 'VM.Audit']),
    special: false,
  });
  access.addUser('alice@pve', '<alice-password>');
  access.addToken('alice@pve', 't1');
  access.grant('alice@pve', '/', 'RigAudit');
  if (version === '8.4.21') access.grant('alice@pve!t1', '/', 'RigAudit');
}

/** More of a flow's beginning than its own reads tell. */
const particulars: Readonly<Record<string, (server: ProxmoxServer) => void>> = {
  'version-auth': ({ world }) => {
    world.access.addUser('carol@pve', '<carol-password>');
    world.access.addToken('carol@pve', 't1');
  },
  inventory: ({ world }) => {
    const [node = ''] = world.nodes.keys();
    const guests = new Set([7010, 7013]);
    world.pools.set('rec-prod', {
      id: 'rec-prod',
      comment: 'production',
      guests,
      storages: new Set(['local']),
    });
    // Where the disk of 7014 lies is not recorded.
    world.storages.volumes('btr', node).delete('btr:7014/subvol-7014-disk-0.subvol');
  },
  ha({ world }) {
    if (world.major === 8) haOf(world).assume({ master: 'pve3', active: ['pve1', 'pve2'] });
  },
  failover({ world }) {
    world.ha.resources.set('ct:7401', { sid: 'ct:7401', state: 'started', fields: {}, current: 'started' });
    haOf(world).assume({ master: 'pve3', active: [...world.nodes.keys()] });
  },
};

export function setUpReplay(server: ProxmoxServer, recording: Recording): void {
  const { world } = server;
  for (const definition of world.storages.definitions.values()) {
    definition.content = definition.content.filter((content) => content !== 'import');
  }
  placePeople(server, recording.version);
  for (const [vmid, evidence] of guestsFound(recording)) placeGuest(world, vmid, evidence);
  placeVolumes(world, recording);
  placeDownloads(world, recording);
  const [node = ''] = world.nodes.keys();
  const message = "successful auth for user 'root@pam'";
  world.log.push({
    uid: '1',
    node,
    time: world.now(),
    user: 'root@pam',
    tag: 'pvedaemon',
    pid: 155,
    message,
  });
  particulars[recording.flow]?.(server);
}
