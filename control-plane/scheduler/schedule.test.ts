import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeName } from '#shared/model.ts';
import { demand, demandOf, nodeView, pool } from '../../test/fakes/scheduling.ts';
import { schedule } from './schedule.ts';

const packing = demand({ placement: { require: [], strategy: 'bin-pack' } });
const digest = `sha256:${'a'.repeat(64)}`;

const rows = [
  { title: 'takes the only node', wanted: demand(), nodes: [nodeView('a')], expected: 'a' },
  { title: 'takes none where there is none', wanted: demand(), nodes: [], expected: undefined },
  {
    title: 'takes the first name of equals',
    wanted: demand(),
    nodes: [nodeView('c'), nodeView('a'), nodeView('b')],
    expected: 'a',
  },
  {
    title: 'spreads by copies before anything else',
    wanted: demand({ image: digest }),
    nodes: [
      nodeView('a', { copies: new Map([['web', 1]]), images: new Set([digest]) }),
      nodeView('b', { copies: new Map([['db', 5]]), memoryFreeMib: 600 }),
    ],
    expected: 'b',
  },
  {
    title: 'spreads to the emptiest of those with the same copies',
    wanted: demand(),
    nodes: [nodeView('a', { memoryFreeMib: 4096 }), nodeView('b')],
    expected: 'b',
  },
  {
    title: 'still tells copies apart where there are hundreds',
    wanted: demand(),
    nodes: [
      nodeView('a', { copies: new Map([['web', 501]]) }),
      nodeView('b', { copies: new Map([['web', 500]]), memoryFreeMib: 600, cpuFreeMillicores: 600 }),
    ],
    expected: 'b',
  },
  {
    title: 'packs onto the fullest that fits',
    wanted: packing,
    nodes: [nodeView('a'), nodeView('b', { memoryFreeMib: 600 }), nodeView('c', { memoryFreeMib: 100 })],
    expected: 'b',
  },
  {
    title: 'prefers a node that has the image where all else is nearly equal',
    wanted: demand({ image: `web@${digest}` }),
    nodes: [nodeView('a'), nodeView('b', { memoryFreeMib: 8000, images: new Set([digest]) })],
    expected: 'b',
  },
];

describe('schedule', () => {
  it.each(rows)('$title', ({ wanted, nodes, expected }) => {
    expect(schedule(wanted, nodes).node).toBe(expected);
  });

  it('gives the same answer for every order of the nodes, the best of its own explanation', () => {
    const node = fc.record({ memoryFreeMib: fc.nat(4096), copies: fc.nat(3), cordoned: fc.boolean() });
    fc.assert(
      fc.property(fc.array(node, { maxLength: 20 }), fc.boolean(), (specs, isPacking) => {
        const nodes = specs.map(({ memoryFreeMib, copies, cordoned }, place) =>
          nodeView(`n${place}`, { memoryFreeMib, cordoned, copies: new Map([['web', copies]]) }),
        );
        const wanted = isPacking ? packing : demand();
        const decision = schedule(wanted, nodes);
        expect(schedule(wanted, nodes.toReversed()).node).toBe(decision.node);
        const verdicts = decision.explain();
        expect(verdicts).toHaveLength(nodes.length);
        expect(
          verdicts.every(({ reason, fits, failed }) => reason !== '' && fits === (failed.length === 0)),
        ).toBe(true);
        expect(verdicts.find(({ fits }) => fits)?.node).toBe(decision.node);
      }),
    );
  });

  it('asks no rule that the demand has nothing to do with, and misses none that it has', () => {
    const node = nodeView('a', { pools: [pool({ freeMib: 10 })], labels: { zone: 'a' } });
    const asking = [
      demand({ anchor: { volume: 'web-data-0', node: 'b' as NodeName } }),
      demand({ features: ['nesting'] }),
      demand({ devices: ['/dev/fuse'] }),
      demand({ placement: { require: ['zone = b'], strategy: 'spread' } }),
      demandOf({ diskMib: 11 }),
    ];
    for (const wanted of asking) expect(schedule(wanted, [node]).node).toBeUndefined();
    expect(schedule(demandOf({ diskMib: 0 }), [node]).node).toBe('a');
  });

  it('says every reason against a node', () => {
    const full = nodeView('a', { cordoned: true, memoryFreeMib: 100 });
    expect(schedule(demand(), [full]).explain()).toMatchObject([
      {
        node: 'a',
        reason:
          'cordoned: it takes nothing new until it is uncordoned; needs 512 MiB of memory, 100 MiB free',
      },
    ]);
  });

  it('sums up why nothing fits, what is closest and what would fit', () => {
    const nodes = [
      nodeView('pve6', { memoryFreeMib: 1024 }),
      nodeView('pve7', { memoryFreeMib: 6144 }),
      nodeView('pve8', { cordoned: true }),
      nodeView('pve9', { ready: false, notReadyBecause: 'it does not answer' }),
    ];
    expect(schedule(demandOf({ memoryMib: 7578 }), nodes).summary()).toBe(
      '0 of 4 nodes fit. 2 lack memory (closest: pve7, short 1.4 GiB) · 1 cordoned · 1 not ready. ' +
        'It would fit with memory ≤ 6 GiB.',
    );
  });

  it('sums up a choice', () => {
    const nodes = [nodeView('a'), nodeView('b', { cordoned: true })];
    expect(schedule(demand(), nodes).summary()).toBe('1 of 2 nodes fit, a best. 1 cordoned.');
    expect(schedule(demand(), []).summary()).toBe('There is no node yet.');
  });
});
