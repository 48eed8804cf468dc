import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatWorkloadSpec, parseWorkloadDocument } from '#shared/wire/workload.ts';
import { parseSpec } from './parse-spec.ts';
import { writeDocument } from './write-document.ts';

const examples = path.resolve(import.meta.dirname, '../../../examples');
const everything = `
kind: Workload
name: all
labels: { tier: front }
annotations: { note: "a: b" }
image: registry.example/web:1
imageCredential: shop
runtime: proxmox-vm
replicas: 3
command: [/bin/x, "-p", 80]
env: { A: "1", B: "true", C: "" }
user: "1:1"
workingDir: /srv
resources: { cpu: 500m, memory: 256MiB, disk: 2GiB, pids: 7 }
root: { pool: tank }
volumes:
  - { name: data, mount: /data, size: 10GiB, pool: fast, readOnly: true, keep: true }
  - { name: logs, mount: /logs, size: 1GiB }
snapshots: { hourly: 3, weekly: 1 }
networks: [lan, { name: dmz, addresses: [10.20.0.5] }]
dns: { servers: [10.0.0.1], search: [x.example] }
security: { nesting: true }
startOrder: 4
restart: { policy: on-failure, maxAttempts: 3 }
placement: { require: ["zone in (a, b)"], strategy: bin-pack }
update: { readyAfter: 1500ms }
stop: { grace: 1m }
vm: { cpuType: host, cores: 2, balloon: 128MiB, kvm: false, agent: false, bios: ovmf, clone: linked, cloudInit: {}, disk: { bus: virtio, iothread: true } }
cluster: { pool: prod, tags: [a, b], onBoot: false, protection: true }
`;
const message = (text: string): WorkloadDocument => {
  const [one] = parseSpec(text, 'file');
  if (one === undefined) throw new Error('no document');
  return one.document;
};

describe('a document that is written', () => {
  it.each([
    ['all that can be said', everything],
    ['what says nothing', 'kind: Workload\nname: web\nimage: registry.example/web:1\n'],
    ['no network but its own', 'kind: Workload\nname: web\nimage: registry.example/web:1\nnetwork: host\n'],
    ['no copies', 'kind: Workload\nname: web\nimage: registry.example/web:1\nreplicas: 0\n'],
    [
      'a drive',
      'kind: Workload\nname: v\nimage: proxmox:template/9\nruntime: proxmox-vm\nvm: {cloudInit: {user: ann, sshKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKdSuBEqEY2kIDqFNdyUmqBDJGvBHpBf4zvRcCF8UvQ3 ann@home]}}\n',
    ],
    [
      'what is empty',
      'kind: Workload\nname: v\nimage: proxmox:template/9\nruntime: proxmox-vm\nvm: {}\ncluster: {}\n',
    ],
    ...['hello.yaml', 'system.yaml', 'web.yaml'].map((name): [string, string] => [
      name,
      readFileSync(path.join(examples, name), 'utf8'),
    ]),
  ] as [string, string][])('is read again as what it was: %s', (_title, text) => {
    const before = message(text);
    // As the control plane gives it back, every field decided.
    const { spec } = parseWorkloadDocument(before);
    const answered = { metadata: before.metadata, spec: formatWorkloadSpec(spec) };
    const after = message(writeDocument(answered));
    expect(parseWorkloadDocument(after)).toEqual(parseWorkloadDocument(before));
  });

  it.each([
    'kind: Workload\nname: web\nimage: reg.example/web:1',
    'kind: Workload\nname: shop\nimage: proxmox:template/9\nruntime: proxmox-vm',
  ])('leaves out what is so by itself', (document) => {
    const { spec, name } = parseWorkloadDocument(message(document));
    const metadata = { ...message(document).metadata, name };
    const text = writeDocument({ metadata: metadata as never, spec: formatWorkloadSpec(spec) });
    expect(text).toBe(document);
  });
});
