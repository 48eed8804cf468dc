/** The Proxmox server for tests in a process of its own, so that its work is not taken for ours. */
import { type ProxmoxServer, startProxmoxServer } from '../../fakes/proxmox-server.ts';

export interface ServerQuestion {
  readonly ask: 'access' | 'reset' | 'count';
}

export interface ServerAccess {
  readonly endpoints: readonly string[];
  readonly authorityPem: string;
  readonly tokenId: string;
  readonly secret: string;
}

export const firstVmid = 1000;
/** Of the instance whose guest it is, where it is ours. */
export const idOf = (vmid: number): string =>
  `0192aaaa-0000-7000-8000-${vmid.toString(16).padStart(12, '0')}`;

/** "16 2000 1000": so many nodes, so many guests on them, and so many of those that are ours. */
const [nodeCount = 3, guestCount = 0, ownCount = 0] = (process.argv[2] ?? '').split(' ').map(Number);

function addGuests({ world }: ProxmoxServer): void {
  const nodes = [...world.nodes.keys()];
  for (let place = 0; place < guestCount; place += 1) {
    const vmid = firstVmid + place;
    const node = nodes[place % nodes.length] ?? '';
    const tags = place < ownCount ? `drover-${idOf(vmid).slice(-12)}` : 'prod';
    const isContainer = place % 4 !== 0;
    const config: Record<string, string> = isContainer
      ? {
          hostname: `ct${vmid}`,
          memory: '512',
          cores: '1',
          rootfs: `btr:${vmid}/subvol-${vmid}-disk-0.subvol,size=4G`,
        }
      : { name: `vm${vmid}`, memory: '2048', cores: '2', scsi0: `btr:${vmid}/vm-${vmid}-disk-0.raw,size=8G` };
    const guest = world.newGuest({
      vmid,
      kind: isContainer ? 'lxc' : 'qemu',
      node,
      config: { ...config, tags },
    });
    guest.status = 'running';
    guest.qmpStatus = 'running';
    guest.startedAtMs = world.clock.nowMs();
    world.guests.set(vmid, guest);
  }
  world.broadcasts.tell();
}

async function serve(): Promise<void> {
  const nodes = Array.from({ length: nodeCount }, (_, place) => `pve${place + 1}`);
  const server = await startProxmoxServer({ nodes });
  addGuests(server);
  process.on('message', ({ ask }: ServerQuestion) => {
    if (ask === 'reset') server.requests.reset();
    if (ask === 'access') {
      const { endpoints, authorityPem, tokenId, secret } = server;
      process.send?.({ endpoints: [...endpoints.values()], authorityPem, tokenId, secret });
      return;
    }
    process.send?.({ requests: server.requests.list() });
  });
  process.once('disconnect', () => void server.close());
}

if (process.send !== undefined) await serve();
