/**
 * A Proxmox cluster of three nodes on loopback, to try Drover with where there is none:
 * `npm run proxmox:demo`. It answers as recorded clusters did and runs nothing. `-- --version 8.4.21` for the
 * older release. Runs until SIGINT or SIGTERM, and leaves nothing behind.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { systemRandom } from '#shared/random.ts';
import { startProxmoxServer } from '../test/fakes/proxmox-server.ts';
import type { ProxmoxServer } from '../test/fakes/proxmox-server.ts';
import { placeGuest } from '../test/fakes/proxmox/place-guest.ts';
import { recordedTemplate } from '../test/fakes/proxmox/standard-storages.ts';
import { placeFile } from '../test/fakes/proxmox/storage-paths.ts';
import { emptyQcow2 } from '../test/fakes/proxmox/qcow2.ts';
import type { ProxmoxVersion, World } from '../test/fakes/proxmox/world.ts';

const versions: readonly ProxmoxVersion[] = ['8.4.21', '9.2.11'];
const gibibyte = 1024 ** 3;
const person = 'drover@pve';
const cloudImageUrl = 'https://images.example.test/debian-13-generic-amd64.qcow2';

function readVersion(): ProxmoxVersion {
  const { values } = parseArgs({ options: { version: { type: 'string', default: '9.2.11' } } });
  const known = versions.find((version) => version === values.version);
  if (known !== undefined) return known;
  console.error(`wanted --version ${versions.join(' or ')}, found ${values.version}`);
  process.exit(2);
}

/** Images that a node can download, and files that are there already. Gives the reference of the download. */
function furnish(world: World): string {
  const content = emptyQcow2({ virtualBytes: 2 * gibibyte });
  world.internet.files.set(cloudImageUrl, content);
  const files = [
    { content: 'iso', name: 'debian-13-netinst.iso', sizeBytes: gibibyte / 2 },
    { content: 'import', name: 'debian-13-generic-amd64.qcow2', sizeBytes: gibibyte / 4 },
  ];
  for (const file of files) placeFile(world, 'pve1', 'shared', file);
  return `${cloudImageUrl}@sha256:${createHash('sha256').update(content).digest('hex')}`;
}

const net = (last: string): string =>
  `name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:${last},ip=dhcp,type=veth`;

/** A template to clone from, and guests that somebody else has made. */
function settle(world: World): void {
  const machine = {
    ostype: 'l26',
    scsihw: 'virtio-scsi-single',
    boot: 'order=scsi0',
    cores: '2',
    memory: '2048',
  };
  placeGuest(world, {
    vmid: 9000,
    kind: 'qemu',
    node: 'pve1',
    config: {
      ...machine,
      name: 'debian-13',
      template: '1',
      scsi0: 'shared:9000/base-9000-disk-0.qcow2,size=2G',
      net0: 'virtio=BC:24:11:00:90:00,bridge=vmbr0',
    },
  });
  const container = {
    arch: 'amd64',
    ostype: 'debian',
    memory: '512',
    swap: '512',
    cores: '1',
    unprivileged: '1',
  };
  placeGuest(world, {
    vmid: 101,
    kind: 'lxc',
    node: 'pve1',
    running: true,
    config: {
      ...container,
      hostname: 'intranet',
      tags: 'office',
      onboot: '1',
      net0: net('01'),
      rootfs: 'local:101/vm-101-disk-0.raw,size=4G',
    },
  });
  placeGuest(world, {
    vmid: 102,
    kind: 'lxc',
    node: 'pve2',
    config: {
      ...container,
      hostname: 'old-wiki',
      net0: net('02'),
      rootfs: 'shared:102/vm-102-disk-0.raw,size=2G',
    },
  });
  placeGuest(world, {
    vmid: 103,
    kind: 'qemu',
    node: 'pve3',
    running: true,
    config: {
      ...machine,
      name: 'erp',
      tags: 'office;production',
      scsi0: 'shared:103/vm-103-disk-0.qcow2,size=8G',
      net0: 'virtio=BC:24:11:00:00:03,bridge=vmbr0',
    },
  });
  world.broadcasts.tell();
}

/** A user of its own, as one would make for a fleet. */
function makeToken({ access }: World): string {
  access.addUser(person, systemRandom.uuidV4());
  access.grant(person, '/', 'Administrator');
  return access.addToken(person, 'fleet', { privilegeSeparation: false });
}

function tell(server: ProxmoxServer, folder: string, image: string): void {
  const { world, endpoints } = server;
  const address = [...endpoints.values()][0] ?? '';
  const lines = [
    `Proxmox VE ${world.version} for demonstrations, cluster ${world.clusterName}: nothing real runs in it`,
    '',
    ...[...endpoints].map(([name, at]) => `  ${name}  https://${at}`),
    '',
    `  token        ${person}!fleet`,
    `  secret       ${path.join(folder, 'secret')}`,
    `  authority    ${path.join(folder, 'authority.pem')}`,
    ...[...server.fingerprints()].map(([name, print]) => `  fingerprint  ${name} ${print}`),
    '',
    'Add it:',
    '',
    `  drover cluster add lab --endpoint ${address} --token-id '${person}!fleet' \\`,
    `    --token-file ${path.join(folder, 'secret')} --ca ${path.join(folder, 'authority.pem')}`,
    '',
    'Images to use in specs:',
    '',
    `  proxmox:shared:vztmpl/${recordedTemplate}         a container`,
    '  proxmox:template/debian-13                                           a machine, cloned',
    '  proxmox:shared:import/debian-13-generic-amd64.qcow2                  a machine, from a cloud image',
    '  proxmox:shared:iso/debian-13-netinst.iso                             a machine, from an installer',
    `  ${image}`,
    '',
    'Ctrl-C ends it.',
  ];
  console.log(lines.join('\n'));
}

const version = readVersion();
const server = await startProxmoxServer({ version, random: systemRandom, clusterName: 'demo' });
const folder = mkdtempSync(path.join(os.tmpdir(), 'drover-proxmox-demo-'));
const image = furnish(server.world);
settle(server.world);
writeFileSync(path.join(folder, 'secret'), `${makeToken(server.world)}\n`, { mode: 0o600 });
writeFileSync(path.join(folder, 'authority.pem'), server.authorityPem);
tell(server, folder, image);

const ended = Promise.withResolvers<void>();
process.once('SIGINT', () => ended.resolve());
process.once('SIGTERM', () => ended.resolve());
await ended.promise;
rmSync(folder, { recursive: true, force: true });
await server.close();
