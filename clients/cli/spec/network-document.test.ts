import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import { networkSchema } from './network-schema.ts';
import { readSpec } from './parse-spec.ts';
import { readDocuments } from './read-files.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const reference = readFileSync(path.join(root, 'docs/networks.md'), 'utf8');

function read(text: string) {
  const { documents, networks, faults } = readSpec(text, 'net.yaml');
  expect(faults).toEqual([]);
  return parseApplyDocuments({
    documents: documents.map(({ document }) => document),
    networks: networks.map(({ document }) => document),
  });
}

const faultsOf = (text: string): string[] =>
  readSpec(text, 'net.yaml').faults.map((one) => one.split('\n')[0] ?? '');

describe('a document of a network', () => {
  it('has defaults for all but two keys', () => {
    expect(read('kind: Network\nname: lan\n').networks).toEqual([
      {
        project: 'default',
        name: 'lan',
        labels: {},
        annotations: {},
        expectedRevision: 0,
        spec: {
          bridge: 'drv-lan',
          managedBridge: true,
          subnets: [],
          mtu: 0,
          vlan: 0,
          masquerade: false,
          nodePrivate: false,
          dns: { servers: [], search: [], options: [] },
          routes: [],
        },
      },
    ]);
  });

  it('may say everything, beside workloads', () => {
    const text = [
      'kind: Network',
      'name: storage',
      'labels: { rack: 7 }',
      'bridge: vmbr0',
      'subnets:',
      '  - { cidr: 10.30.0.0/24, gateway: 10.30.0.254, first: 10.30.0.10, last: 10.30.0.99 }',
      '  - { cidr: "fd00:30::/64" }',
      'mtu: 9000',
      'vlan: 30',
      'masquerade: true',
      'dns: { servers: [10.30.0.53], search: [lan.example], options: ["ndots:2"] }',
      'routes: [{ destination: 192.168.0.0/16, via: 10.30.0.9 }]',
      '---',
      'kind: Workload',
      'name: web',
      'image: reg.example/web',
      'networks: [storage]',
    ].join('\n');
    const { networks, workloads } = read(text);
    expect(networks[0]).toMatchObject({ name: 'storage', labels: { rack: '7' } });
    expect(networks[0]?.spec).toMatchObject({
      bridge: 'vmbr0',
      managedBridge: false,
      subnets: [
        { cidr: '10.30.0.0/24', gateway: '10.30.0.254', first: '10.30.0.10', last: '10.30.0.99' },
        { cidr: 'fd00:30::/64', gateway: '', first: 'fd00:30::1', last: 'fd00:30::ffff:ffff:ffff:ffff' },
      ],
      mtu: 9000,
      vlan: 30,
      masquerade: true,
      dns: { servers: ['10.30.0.53'], search: ['lan.example'], options: ['ndots:2'] },
      routes: [{ destination: '192.168.0.0/16', via: '10.30.0.9' }],
    });
    expect(workloads[0]?.spec.networks).toEqual([{ network: 'storage', addresses: [] }]);
  });

  it.each([
    ['bridg: x', 'net.yaml:3:1 bridg: is not a key here; did you mean "bridge"?'],
    ['image: x', 'net.yaml:3:1 image: is not a key here; did you mean "name"?'],
    ['mtu: 100', 'net.yaml:3:1 mtu: is 100; wanted at least 576'],
    ['subnets: [{ gateway: 10.0.0.1 }]', 'net.yaml:3:11 "cidr" is missing'],
    ['nodePrivate: maybe', 'net.yaml:3:1 nodePrivate: is "maybe"; wanted true or false'],
  ])('is checked by its own schema: %s', (line, fault) => {
    const [found = ''] = faultsOf(`kind: Network\nname: lan\n${line}\n`);
    expect(found.replace('subnets[0]: ', '')).toBe(fault);
  });

  it('may not be more than thirty with the workloads', () => {
    const one = 'kind: Network\nname: lan\n---\n';
    expect(faultsOf(one.repeat(31))).toEqual(['net.yaml: holds 31 documents; at most 30']);
  });
});

describe('a refusal of the control plane', () => {
  it('names the line, in the network or in the workload beside it', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'drover-net-'));
    try {
      const file = path.join(folder, 'a.yaml');
      writeFileSync(
        file,
        'kind: Network\nname: lan\nsubnets:\n  - { cidr: 10.20.0.0/24, gateway: 10.9.0.1 }\nbridge: drv-x\n---\n' +
          'kind: Workload\nname: web\nimage: reg.example/web\nnetworks: [Lan]\n',
      );
      const { messages, networks, locate } = await readDocuments([file], process.stdin);
      let error: unknown;
      try {
        parseApplyDocuments({ documents: [...messages], networks: [...networks] });
      } catch (caught) {
        error = locate(caught);
      }
      const lines = (error as DroverError).message.split('\n').filter((line) => line.startsWith(file));
      expect(lines.map((line) => line.slice(file.length).split(' ').slice(0, 2).join(' '))).toEqual([
        ':5:1 bridge:',
        ':4:27 subnets[0].gateway:',
        ':10:12 networks[0].name:',
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('what is published', () => {
  it('is the schema that it checks by', () => {
    const published = readFileSync(path.join(root, 'docs/network.schema.json'), 'utf8');
    expect(JSON.parse(published)).toEqual(networkSchema);
  });

  it('has a row for every field, and no other', () => {
    const rows = [...reference.matchAll(/^\| `([A-Za-z]+)` \|.*\|.*\|$/gm)].map(([, name]) => name);
    const fields = [...Object.keys(networkSchema.properties), 'cidr', 'gateway', 'first', 'last'];
    expect(new Set(rows)).toEqual(new Set(fields));
    expect(rows).toHaveLength(fields.length);
  });

  it.each([...reference.matchAll(/```yaml\n([^]*?)```/g)].map(([, text = '']) => [text]))(
    'shows good documents: %#',
    (text) => {
      const { networks, workloads } = read(text);
      expect(networks.length + workloads.length).toBeGreaterThan(0);
    },
  );
});
