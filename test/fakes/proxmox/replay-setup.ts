/** Brings the fake into the state that a recorded flow begins with: what it reads before it makes it was there. */
import type { ProxmoxServer } from '../proxmox-server.ts';
import type { Recording } from './recording.ts';
import { dataOf, guestsFound, usualConfig } from './replay-guests.ts';
import type { Evidence } from './replay-guests.ts';
import { replayFiles } from './replay-files.ts';
import { haOf } from './ha-engine.ts';
import { sizeIn } from './guest-figures.ts';
import type { Guest, World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

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
