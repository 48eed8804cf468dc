import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createFakeFleet, type FakeFleet } from '../../test/fakes/backend.ts';
import { type SimulatedControlPlane, startControlPlane } from '../../test/simulation/control-plane.ts';
import { until } from '../../test/until.ts';
import { createMemoryJournal } from '../store/memory.ts';
import type { HandlerContext } from './handler.ts';
import { nodeImageHandlers } from './node-images.ts';

let fleet: FakeFleet;
let control: SimulatedControlPlane;
let service: ReturnType<typeof nodeImageHandlers>;
let calls: AbortController;

beforeEach(async () => {
  fleet = createFakeFleet({ clock: systemClock });
  const options = { clock: systemClock, random: systemRandom, backend: fleet.backend };
  control = await startControlPlane({ ...options, journal: createMemoryJournal() });
  for (const name of ['h1', 'h2', 'h3']) {
    await control.enroll(name);
    fleet.addNode(name);
  }
  const { store, view, reconciler } = control;
  const { wake } = reconciler;
  service = nodeImageHandlers({ store, view, wake, backendOf: () => fleet.backend, ...options });
  calls = new AbortController();
  await until(() => view.nodes().size === 3, { what: 'three nodes' });
});

afterEach(async () => {
  calls.abort(new Error('the test has ended'));
  await control.close();
  await fleet.backend.close();
});

const context = (): HandlerContext => ({
  signal: calls.signal,
  method: '/drover.fleet.v1.NodeService/PullImage',
  peer: undefined,
  deadlineMs: undefined,
  caller: { role: 'operator', name: 'ann' },
  certificateSerial: '',
});

const reference = 'registry.example/web:1';
const nextStep = 'make some';
const digest = `sha256:${'a'.repeat(64)}` as Digest;
const other = `sha256:${'b'.repeat(64)}` as Digest;
const imagesOf = (node: string) => fleet.nodes.get(node)?.images ?? new Map<string, Digest>();
const pull = (request: { reference?: string; node?: string }) =>
  Array.fromAsync(service.pullImage({ reference, credential: '', node: '', ...request }, context()));
const remove = (image: string, node = '') => Array.fromAsync(service.removeImage({ image, node }, context()));

describe('a pull', () => {
  it('resolves once, and fetches the same on all nodes', async () => {
    imagesOf('h1').set(reference, digest);
    imagesOf('h2').set(reference, other);
    const progress = await pull({});
    expect(
      progress
        .filter(({ done }) => done)
        .map(({ node }) => node)
        .toSorted(),
    ).toEqual(['h1', 'h2', 'h3']);
    for (const node of ['h1', 'h2', 'h3']) expect(imagesOf(node).has(`${reference}@${digest}`)).toBe(true);
  });

  it('asks each cluster for itself: it knows an image by a digest of its own', async () => {
    await control.store.transact((tx) => {
      const node = tx.named('node', 'h1');
      if (node !== undefined) tx.put('node', node.metadata.id, { ...node, cluster: 'lab' });
    });
    imagesOf('h1').set(reference, digest);
    imagesOf('h2').set(reference, other);
    const progress = await pull({});
    expect(progress.filter(({ done }) => done)).toHaveLength(3);
    expect(imagesOf('h1').has(`${reference}@${digest}`)).toBe(true);
    for (const node of ['h2', 'h3']) expect(imagesOf(node).has(`${reference}@${other}`)).toBe(true);
  });

  it('names a node that fails, and goes on with the others', async () => {
    fleet.nodes
      .get('h2')
      ?.failNext('resolve', new DroverError('resource-exhausted', 'no room', { nextStep }));
    const progress = await pull({});
    expect(
      progress
        .filter(({ done }) => done)
        .map(({ node }) => node)
        .toSorted(),
    ).toEqual(['h1', 'h3']);
    expect(progress.find(({ node }) => node === 'h2')).toMatchObject({
      error: 'no room; make some',
      done: false,
    });
  });

  it('asks the next node what the reference is where one does not know it', async () => {
    fleet.nodes.get('h1')?.failNext('resolve', new DroverError('not-found', 'no such path here'));
    const progress = await pull({ reference: 'tar:/srv/web.tar.xz' });
    expect(progress.filter(({ done }) => done)).toHaveLength(3);
  });

  it('says what the nodes said where none knows it', async () => {
    for (const node of fleet.nodes.values()) {
      node.failNext('resolve', new DroverError('not-found', `not on ${node.name}`));
    }
    await expect(pull({})).rejects.toMatchObject({ kind: 'not-found', message: 'not on h1' });
  });

  it('leaves nodes out that are away, and refuses where none is left', async () => {
    fleet.nodes.get('h2')?.disconnect();
    await until(() => control.view.nodes().get('h2' as never)?.connected === false, { what: 'h2 gone' });
    const progress = await pull({});
    expect(progress.map(({ node }) => node).toSorted()).toEqual(['h1', 'h3']);
    await expect(pull({ node: 'h2' })).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(pull({ node: 'h9' })).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('refuses what is no reference', async () => {
    await expect(pull({ reference: '--help' })).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it('fetches on the node that is named alone', async () => {
    await pull({ node: 'h3', reference: `registry.example/web@${digest}` });
    expect([imagesOf('h1').size, imagesOf('h2').size, imagesOf('h3').size]).toEqual([0, 0, 1]);
  });
});

describe('a removal', () => {
  beforeEach(() => {
    for (const node of ['h1', 'h3']) imagesOf(node).set(`${reference}@${digest}`, digest);
    imagesOf('h1').set('registry.example/api:1', other);
  });

  it.each([
    ['a reference', reference],
    ['a reference with its digest', `${reference}@${digest}`],
    ['a digest', digest],
    ['a part of one', digest.slice(0, 19)],
  ])('takes %s, and tells of each node that had it', async (_, image) => {
    const removals = await remove(image);
    expect(
      removals.map(({ node, error }) => [node, error]).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
    ).toEqual([
      ['h1', ''],
      ['h3', ''],
    ]);
    expect([...imagesOf('h1').values(), ...imagesOf('h3').values()]).toEqual([other]);
  });

  it('names a node where it is used, and goes on', async () => {
    fleet.nodes
      .get('h1')
      ?.failNext('remove-image', new DroverError('failed-precondition', 'it is used', { nextStep }));
    const removals = await remove(digest);
    expect(removals.toSorted((a, b) => (a.node < b.node ? -1 : 1))).toMatchObject([
      { node: 'h1', error: 'it is used; make some' },
      { node: 'h3', error: '' },
    ]);
  });

  it('says not-found where nobody has it', async () => {
    await expect(remove('registry.example/none:1')).rejects.toMatchObject({ kind: 'not-found' });
    await expect(remove(digest, 'h2')).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('removes nothing for a part that several digests have', async () => {
    imagesOf('h1').set('registry.example/third:1', `sha256:${'b'.repeat(63)}c` as Digest);
    const removals = await remove(`sha256:${'b'.repeat(20)}`);
    expect(removals).toMatchObject([{ node: 'h1', error: expect.stringMatching(/2 images/) as string }]);
    expect(imagesOf('h1').size).toBe(3);
  });
});
