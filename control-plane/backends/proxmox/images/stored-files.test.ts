import { describe, expect, it } from 'vitest';
import type { NodeName } from '#shared/model.ts';
import { createFakeClock } from '../../../../test/fakes/clock.ts';
import type { ClusterApi } from '../cluster-api.ts';
import { emptyMemory, type NodeMemory } from '../cluster-memory.ts';
import type { StorageRow } from '../observe/listings.ts';
import { createStoredFiles } from './stored-files.ts';

const { signal } = new AbortController();
const nodes = ['pve1', 'pve2', 'pve3'];

/** Three nodes with a storage of their own each, and one that they share. */
function open() {
  const clock = createFakeClock();
  const memory = emptyMemory();
  const storage = (node: string, name: string, shared: boolean): StorageRow => ({
    node,
    storage: name,
    plugin: 'dir',
    content: ['vztmpl'],
    shared,
    available: true,
    sizeBytes: 0,
    usedBytes: 0,
  });
  for (const node of nodes) {
    const storages = [storage(node, 'local', false), storage(node, 'nas', true)];
    const known: Partial<NodeMemory> = { node, name: `lab-${node}` as NodeName, storages };
    memory.nodes.set(node, known as NodeMemory);
  }
  const asked: string[] = [];
  const failing = new Set<string>();
  const call = async (_method: string, parameters: Readonly<Record<string, unknown>>) => {
    const at = `${String(parameters['node'])} ${String(parameters['storage'])}`;
    asked.push(at);
    await Promise.resolve();
    if (failing.has(at)) throw new Error('away');
    return [{ volid: `${String(parameters['storage'])}:vztmpl/a.tar.gz`, size: 3, ctime: 1 }];
  };
  const api = { call } as Pick<ClusterApi, 'call'> as ClusterApi;
  const files = createStoredFiles({ api, memory, clock });
  const glances = () =>
    Promise.all(
      nodes.map(async (node) =>
        (await Array.fromAsync(files.glance(node, signal))).map(({ volid }) => volid),
      ),
    );
  return { clock, files, asked, failing, glances };
}

const both = ['nas:vztmpl/a.tar.gz', 'local:vztmpl/a.tar.gz'];
const askedOf = (asked: readonly string[], storage: string): number =>
  asked.filter((each) => each.endsWith(storage)).length;

describe('a glance at the files of nodes', () => {
  it('asks one of them what a storage has that they share', async () => {
    const { files, asked, glances } = open();
    expect(await glances()).toEqual([both, both, both]);
    expect([askedOf(asked, 'nas'), askedOf(asked, 'local')]).toEqual([1, 3]);
    await Array.fromAsync(files.all('pve2', signal));
    expect(askedOf(asked, 'nas')).toBe(2);
  });

  it('asks anew after a moment, and once files came or went', async () => {
    const { clock, files, asked, glances } = open();
    await glances();
    files.changed();
    await glances();
    expect(askedOf(asked, 'nas')).toBe(2);
    await clock.advance(2000);
    await glances();
    expect(askedOf(asked, 'nas')).toBe(3);
  });

  it('asks each for itself where the first could not tell', async () => {
    const { files, failing } = open();
    failing.add('pve1 nas');
    const [first, second] = await Promise.allSettled(
      ['pve1', 'pve2'].map((node) => Array.fromAsync(files.glance(node, signal))),
    );
    expect(first?.status).toBe('rejected');
    expect(second).toMatchObject({ status: 'fulfilled', value: [{}, {}] });
  });
});
