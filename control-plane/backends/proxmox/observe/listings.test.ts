import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  findOwn,
  indexGuests,
  parseMembership,
  parseResources,
  stateOfGuest,
  parseVersion,
} from './listings.ts';

const golden = path.resolve(import.meta.dirname, '../../../../test/golden');

interface Exchange {
  readonly step: string;
  readonly request: { readonly path: string };
  readonly response: { readonly body: { readonly data: unknown } } | null;
}
function recorded(version: string, flow: string, step: RegExp): unknown[] {
  const text = readFileSync(path.join(golden, `proxmox-${version}`, `${flow}.json`), 'utf8');
  const all = (JSON.parse(text) as { readonly exchanges: readonly Exchange[] }).exchanges;
  return all.filter((each) => step.test(each.step)).map(({ response }) => response?.body?.data);
}

describe('what clusters tell of themselves', () => {
  it('is read as 8.4 tells it', () => {
    const { nodes, guests, storages } = parseResources(recorded('8.4.21', 'inventory', /^resources$/)[0]);
    expect(nodes.map(({ node, online, haState }) => `${node} ${online} ${haState}`).toSorted()).toEqual(
      ['pve1', 'pve2', 'pve3'].map((node) => `${node} true online`),
    );
    expect(guests.find(({ vmid }) => vmid === 7010)).toMatchObject({
      node: 'pve1',
      kind: 'lxc',
      name: 'ct7010',
      status: 'running',
      tags: ['prod', 'web'],
      template: false,
      uptimeS: 18,
      cpuCount: 2,
    });
    expect(guests.find(({ vmid }) => vmid === 7012)).toMatchObject({ template: true, status: 'stopped' });
    expect(guests.find(({ vmid }) => vmid === 7340)).toMatchObject({ haState: 'started' });
    expect(storages.find(({ node, storage }) => node === 'pve2' && storage === 'btr')).toMatchObject({
      plugin: 'btrfs',
      shared: false,
      available: true,
    });
    expect(parseMembership(recorded('8.4.21', 'inventory', /^cluster status$/)[0])).toMatchObject({
      name: 'rig',
      quorate: true,
    });
  });

  it('is read as a single node of 9.2 tells it: it is its own majority', () => {
    const { nodes, guests } = parseResources(recorded('9.2.11', 'inventory', /^resources$/)[0]);
    expect(nodes).toMatchObject([{ node: 'pvn1', online: true, cpuCount: 2 }]);
    expect(guests.find(({ vmid }) => vmid === 7013)).toMatchObject({ kind: 'qemu', status: 'running' });
    expect(parseMembership(recorded('9.2.11', 'inventory', /^cluster status$/)[0])).toEqual({
      name: '',
      quorate: true,
      nodes: [{ node: 'pvn1', online: true, address: '10.99.86.21' }],
    });
  });

  it('is not believed where it is nothing: fresh rows have no name and no state', () => {
    const fresh = parseResources(recorded('8.4.21', 'inventory', /^resources right after/)[0]).guests;
    expect(fresh.find(({ vmid }) => vmid === 7010)).toMatchObject({ status: 'unknown', name: '' });
    for (const odd of [
      null,
      undefined,
      'text',
      {},
      [null, 3, 'x', { type: 'lxc' }, { type: 'qemu', node: 'a', vmid: 'b' }],
    ])
      expect(parseResources(odd)).toEqual({ nodes: [], guests: [], storages: [] });
    expect(parseMembership('x')).toEqual({ name: '', quorate: true, nodes: [] });
    expect(parseVersion(null)).toBe('');
  });

  it('is read whether numbers are numbers, and flags are flags, or not', () => {
    const row = { type: 'qemu', node: 'pve1', status: 'stopped', tags: 'a;b' };
    for (const [vmid, template, maxmem] of [
      [101, 1, 1024],
      ['101', '1', '1024'],
      [101, true, 1024],
    ])
      expect(parseResources([{ ...row, vmid, template, maxmem }]).guests).toMatchObject([
        { vmid: 101, template: true, memoryBytes: 1024 },
      ]);
    for (const template of [0, '0', false, undefined, null, ''])
      expect(parseResources([{ ...row, vmid: 101, template }]).guests).toMatchObject([{ template: false }]);
    for (const quorate of [1, '1', true])
      expect(parseMembership([{ type: 'cluster', name: 'x', quorate }])).toMatchObject({ quorate: true });
    for (const quorate of [0, '0', false])
      expect(parseMembership([{ type: 'cluster', name: 'x', quorate }])).toMatchObject({ quorate: false });
  });

  it('has a dead node as what it is', () => {
    const all = recorded('8.4.21', 'failover', /^resources nodes$/).map((data) => parseResources(data).nodes);
    expect(all.some((nodes) => nodes.some(({ online }) => !online))).toBe(true);
  });

  it.each([
    [{ status: 'running' }, { status: 'running' }],
    [{ status: 'running', qmpstatus: 'paused' }, { status: 'paused' }],
    [{ status: 'running', qmpstatus: 'prelaunch' }, { status: 'paused' }],
    [{ status: 'suspended' }, { status: 'paused' }],
    [{ status: 'stopped', qmpstatus: 'stopped' }, { status: 'stopped' }],
    [
      { status: 'running', qmpstatus: 'io-error' },
      { status: 'paused', trouble: 'io-error' },
    ],
    [{ status: 'io-error' }, { status: 'paused', trouble: 'io-error' }],
    [{ status: 'prelaunch', lock: 'backup' }, { status: 'stopped' }],
    [{ status: 'running', qmpstatus: 'prelaunch', lock: 'backup' }, { status: 'stopped' }],
    [{ status: 'running', qmpstatus: 'finish-migrate', lock: 'migrate' }, { status: 'running' }],
    [{ status: 'finish-migrate', lock: 'migrate' }, { status: 'unknown' }],
    [{ status: 'unknown' }, { status: 'unknown' }],
    [{}, { status: 'unknown' }],
  ])('reads the state %j as %j', (row, read) => {
    expect(stateOfGuest(row)).toEqual(read);
  });
});

const tag = 'drover-0123456789ab';
const guests = (...rows: (readonly [vmid: number, tags: string])[]) =>
  parseResources(rows.map(([vmid, tags]) => ({ type: 'lxc', node: 'pve1', vmid, tags, status: 'running' })))
    .guests;

describe('which guest is ours', () => {
  it.each([
    { name: 'the one with tag and number', rows: [[101, tag]], row: 101, copies: [] },
    {
      name: 'the one with the number, beside a copy',
      rows: [
        [101, tag],
        [102, `a;${tag}`],
      ],
      row: 101,
      copies: [102],
    },
    { name: 'one that was restored under another number', rows: [[102, tag]], row: 102, copies: [] },
    {
      name: 'none of two that are both elsewhere',
      rows: [
        [102, tag],
        [103, tag],
      ],
      row: undefined,
      copies: [102, 103],
    },
    {
      name: 'none where the number is there without the tag',
      rows: [
        [101, 'x'],
        [102, tag],
      ],
      row: undefined,
      copies: [102],
      doubtful: 101,
    },
    { name: 'none where it is doubtful', rows: [[101, '']], row: undefined, copies: [], doubtful: 101 },
    { name: 'none where there is nothing', rows: [[105, 'drover-other']], row: undefined, copies: [] },
    { name: 'none where it was a copy before', rows: [[109, tag]], row: undefined, copies: [109] },
  ] as const)('is $name', ({ rows, row, copies, ...rest }) => {
    const found = findOwn(tag, 101, indexGuests(guests(...rows)), new Set([109]));
    expect({
      row: found.row?.vmid,
      doubtful: found.doubtful?.vmid,
      copies: found.copies.map(({ vmid }) => vmid),
    }).toEqual({
      row,
      doubtful: 'doubtful' in rest ? rest.doubtful : undefined,
      copies,
    });
  });
});
