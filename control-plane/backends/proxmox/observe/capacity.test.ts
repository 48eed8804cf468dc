/** What is free, by hand-made lists as `cluster/resources` answers them; amounts in GiB. */
import { describe, expect, it } from 'vitest';
import { othersBytes } from './capacity.ts';
import { parseResources } from './listings.ts';

const gib = 1024 ** 3;

interface Guest {
  readonly kind?: 'lxc' | 'qemu';
  readonly status?: string;
  readonly template?: 1;
  readonly used: number;
  readonly most: number;
  /** From 9 on: what it takes up on its node. */
  readonly host?: number;
  /** Ours, with so much reserved for it. */
  readonly ours?: number;
}

function others(used: number, guests: readonly Guest[]): number {
  const rows = guests.map(({ kind = 'qemu', status = 'running', template = 0, ...one }, place) => ({
    type: kind,
    node: 'pve1',
    vmid: 100 + place,
    status,
    template,
    mem: one.used * gib,
    maxmem: one.most * gib,
    ...(one.host !== undefined && { memhost: one.host * gib }),
  }));
  const reserved = guests.flatMap(({ ours }, place) =>
    ours === undefined ? [] : [[100 + place, ours * 1024] as const],
  );
  return othersBytes(used * gib, parseResources(rows).guests, new Map(reserved)) / gib;
}

describe('memory of a node that no instance can have', () => {
  it.each<readonly [string, number, readonly Guest[], number]>([
    ['is what it uses itself, where it has no guests', 1.5, [], 1.5],
    ['has nothing of what is stopped', 1.5, [{ status: 'stopped', used: 0, most: 8 }], 1.5],
    ['has nothing of templates', 1.5, [{ template: 1, status: 'stopped', used: 0, most: 8 }], 1.5],
    ['has what containers of others use', 3.5, [{ kind: 'lxc', used: 2, most: 8 }], 3.5],
    ['has all that machines of others have', 3.5, [{ used: 2, host: 2, most: 8 }], 9.5],
    [
      'has what a balloon has taken of a machine, which claims it back',
      6,
      [{ used: 4, host: 4, most: 16 }],
      18,
    ],
    ['has what a paused machine has', 3.5, [{ status: 'paused', used: 2, host: 2, most: 8 }], 9.5],
    ['has what a machine takes beyond its memory', 10.5, [{ used: 7, host: 9, most: 8 }], 10.5],
    // Before 9 it is not told what a machine takes up on its node.
    ['has a gibibyte for the node itself, where nothing tells', 3.5, [{ used: 2, most: 8 }], 9],
    ['has no more for the node than is used at all', 2.5, [{ used: 2, most: 8 }], 8.5],
    ['knows what machines hold that gave nothing back', 18, [{ used: 3, most: 16 }], 18],
    [
      'has nothing of ours: that is reserved',
      7.5,
      [
        { used: 4, host: 4, most: 8, ours: 8 },
        { kind: 'lxc', used: 2, most: 4, ours: 4 },
      ],
      1.5,
    ],
    [
      'has nothing of ours that is stopped: that is reserved as well',
      1.5,
      [{ status: 'stopped', used: 0, most: 8, ours: 8 }],
      1.5,
    ],
    ['has what ours use beyond what is reserved', 2, [{ kind: 'lxc', used: 0.5, most: 0.5, ours: 0 }], 2],
    [
      'counts each by what it is',
      20,
      [
        { used: 3, host: 4, most: 8 },
        { kind: 'lxc', used: 2, most: 8 },
        { used: 6, host: 8, most: 8, ours: 8 },
        { status: 'stopped', used: 0, most: 32 },
        { template: 1, status: 'stopped', used: 0, most: 2 },
      ],
      6 + 8 + 2,
    ],
  ])('%s', (_title, used, guests, expected) => {
    expect(others(used, guests)).toBe(expected);
  });

  it.each([
    ['before 9', undefined],
    ['from 9 on', 5],
  ])('is never less than what others use now: %s', (_title, host) => {
    for (let used = 0; used <= 40; used += 1) {
      const guests: Guest[] = [
        { used: 3, most: 8, ...(host !== undefined && { host }) },
        { used: 2, most: 6, ours: 6, ...(host !== undefined && { host }) },
      ];
      expect(others(used, guests)).toBeGreaterThanOrEqual(used - 6);
    }
  });
});
