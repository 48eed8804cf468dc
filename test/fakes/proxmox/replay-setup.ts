/** Brings the fake into the state that a recorded flow begins with: what it reads before it makes it was there. */
import type { ProxmoxServer } from '../proxmox-server.ts';
import type { Recording } from './recording.ts';
import { cameLater, dataOf, guestsFound, usualConfig } from './replay-guests.ts';
import type { Evidence } from './replay-guests.ts';
import { replayFiles } from './replay-files.ts';
import { haOf } from './ha-engine.ts';
import { placeDisks, placeGuest } from './place-guest.ts';
import type { GuestConfig, World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

/** What its own reads do not tell is as usual: its name, its memory. */
function configOf(vmid: number, evidence: Evidence): GuestConfig {
  const usual = usualConfig(vmid, evidence);
  if (evidence.config === undefined) return usual;
  const { memory = '', hostname, name } = usual;
  const names = { ...(hostname === undefined ? {} : { hostname }), ...(name === undefined ? {} : { name }) };
  return { memory, ...(evidence.changed ? names : {}), ...evidence.config };
}

function placeFound(world: World, vmid: number, evidence: Evidence): void {
  const { kind, node, running = false } = evidence;
  const guest = placeGuest(world, { vmid, kind, node, config: configOf(vmid, evidence), running });
  // The recorded machines had no system on their disks.
  if (kind === 'qemu') guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
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

/** Its disks lie where the configuration says. */
function reconfigure(world: World, vmid: number, config: GuestConfig): void {
  const guest = world.guests.get(vmid);
  if (guest === undefined) return;
  for (const definition of world.storages.definitions.values()) {
    const volumes = world.storages.volumes(definition.id, guest.node);
    for (const volume of volumes.values()) if (volume.vmid === vmid) volumes.delete(volume.volid);
  }
  Object.assign(guest.config, config);
  placeDisks(world, guest);
}

const machine = (vmid: number, storage: string): GuestConfig => ({
  net0: `virtio=BC:24:11:00:72:${String(vmid % 100).padStart(2, '0')},bridge=vmbr0`,
  scsi0: `${storage}:${vmid}/vm-${vmid}-disk-0.qcow2,size=1G`,
  scsihw: 'virtio-scsi-single',
  serial0: 'socket',
});

/** More of a flow's beginning than its own reads tell. */
const particulars: Readonly<Record<string, (server: ProxmoxServer, recording: Recording) => void>> = {
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
  'lxc-snapshot': ({ world }) =>
    reconfigure(world, 7041, { rootfs: 'local:7041/vm-7041-disk-0.raw,size=1G' }),
  'lxc-clone': ({ world }) => {
    reconfigure(world, 7050, {
      description: 'origin',
      net0: 'name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth',
    });
    reconfigure(world, 7057, { rootfs: 'shared:7057/vm-7057-disk-0.raw,size=1G' });
  },
  'lxc-backup'({ world }, { exchanges }) {
    // The first archive holds the whole configuration.
    const text = exchanges
      .map(dataOf)
      .find((data) => typeof data === 'string' && data.includes('arch: amd64'));
    const lines = String(text)
      .split('\n')
      .filter((line) => line !== '');
    reconfigure(world, 7330, {
      ...Object.fromEntries(
        lines
          .map((line) => /^(\w+): (.*)$/.exec(line)?.slice(1) as [string, string] | undefined)
          .filter((pair) => pair !== undefined),
      ),
      description: lines
        .filter((line) => line.startsWith('#'))
        .map((line) => line.slice(1))
        .join('\n'),
    });
  },
  'qemu-snapshot': ({ world }) => {
    const storage = world.nodes.size === 1 ? 'local' : 'shared';
    reconfigure(world, 7211, { scsi0: `${storage}:7211/vm-7211-disk-0.raw,size=1G` });
  },
  'qemu-clone'({ world }, { exchanges }) {
    const copy = exchanges.find(({ request }) => request.path.endsWith('/qemu/7221/config'));
    const {
      digest: _digest,
      name: _name,
      ...config
    } = (copy === undefined ? {} : dataOf(copy)) as Record<string, unknown>;
    const entries = Object.entries(config).map(([key, value]) => [
      key,
      String(value).replaceAll('7221', '7220'),
    ]);
    reconfigure(world, 7220, Object.fromEntries(entries) as GuestConfig);
  },
  'qemu-agent': ({ world }) => reconfigure(world, 7250, machine(7250, 'shared')),
  'qemu-migrate': ({ world }) => {
    reconfigure(world, 7240, machine(7240, 'shared'));
    reconfigure(world, 7241, machine(7241, 'local'));
  },
  'qemu-template'({ world }) {
    if (world.major < 9) return;
    // A base that an older machine of that number has left.
    reconfigure(world, 7230, { scsi0: 'local:7230/vm-7230-disk-0.qcow2,size=1G' });
    const [node = ''] = world.nodes.keys();
    const volid = 'local:7230/base-7230-disk-0.qcow2';
    const volume = { volid, content: 'images', format: 'qcow2', sizeBytes: 1024 ** 3, vmid: 7230 };
    world.storages.volumes('local', node).set(volid, volume);
  },
  ha({ world }) {
    if (world.major === 8) haOf(world).assume({ master: 'pve3', active: ['pve1', 'pve2'] });
  },
  failover({ world }) {
    world.ha.resources.set('ct:7401', { sid: 'ct:7401', state: 'started', fields: {}, current: 'started' });
    haOf(world).assume({ master: 'pve3', active: [...world.nodes.keys()] });
  },
};

export interface LateGuest {
  readonly since: number;
  place(): void;
}

/** Gives the guests that came only later, unrecorded, with the exchange that finds them. */
export function setUpReplay(server: ProxmoxServer, recording: Recording): LateGuest[] {
  const { world } = server;
  const late: LateGuest[] = [];
  for (const definition of world.storages.definitions.values()) {
    definition.content = definition.content.filter((content) => content !== 'import');
  }
  placePeople(server, recording.version);
  for (const [vmid, evidence] of guestsFound(recording)) {
    if (cameLater(recording, vmid, evidence)) {
      late.push({ since: evidence.since, place: () => placeFound(world, vmid, evidence) });
    } else placeFound(world, vmid, evidence);
  }
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
  particulars[recording.flow]?.(server, recording);
  return late;
}
