import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../test/fakes/scheduling.ts';
import { withImagePlaces } from './image-places.ts';
import { schedule } from './scheduler/schedule.ts';

const [one, other] = [`sha256:${'a'.repeat(64)}`, `sha256:${'b'.repeat(64)}`];
const unknown = `sha256:${'0'.repeat(64)}`;
const file = 'proxmox:local:vztmpl/debian-13.tar.zst';
const template = 'proxmox:template/debian-13';

/** Nodes "a" and up, each with what it has. */
const nodes = (...images: string[][]) =>
  images.map((each, place) =>
    nodeView('abcdefgh'[place] ?? '', { images: new Set(each), imagesListed: true }),
  );
const whereOf = (image: string, views: ReturnType<typeof nodes>) => {
  const { imageAt } = withImagePlaces(demand({ image }), views);
  return imageAt && [[...imageAt.nodes], imageAt.because];
};

describe('where an image can be had', () => {
  it.each([
    ['a file is where it is', `${file}@${one}`, [[one, file], []], ['a'], 'storage local of a'],
    ['a template is where it can be copied', `${template}@${one}`, [[one], [one], []], ['a', 'b'], 'a, b'],
    [
      'another file of that name is another',
      `${file}@${one}`,
      [
        [other, file],
        [one, file],
      ],
      ['b'],
      'storage local of b',
    ],
    [
      'its name counts before its digest is known',
      `${file}@${unknown}`,
      [[other, file], []],
      ['a'],
      'storage local of a',
    ],
    ['its name counts without a digest', file, [[], [other, file]], ['b'], 'storage local of b'],
    ['a guest is where it can be copied', `proxmox:guest/105@${one}`, [[], [one]], ['b'], 'b'],
    [
      'its snapshot is another image',
      `proxmox:guest/105@before@${unknown}`,
      [['proxmox:guest/105'], ['proxmox:guest/105@before']],
      ['b'],
      'b',
    ],
    [
      'of many some are told',
      `${template}@${one}`,
      [[one], [one], [one], [one], [one], [one], [one], []],
      ['a', 'b', 'c', 'd', 'e', 'f', 'g'],
      'a, b, c, d, e and 2 more',
    ],
  ])('%s', (_title, image, images, having, where) => {
    expect(whereOf(image, nodes(...images))).toEqual([having, `its image is on ${where} alone`]);
  });

  it.each([
    ['is brought from the web', `https://images.example.test/a.qcow2@${one}`, [[one], []]],
    ['is brought from a registry', `docker.io/library/nginx@${one}`, [[one], []]],
    ['is on no node that tells of it: it may have come just now', `${file}@${one}`, [[other, file], []]],
    ['is a guest that no node tells of', `proxmox:guest/105@${one}`, [[other], []]],
  ])('is everywhere where it %s', (_title, image, images) => {
    expect(whereOf(image, nodes(...images))).toBeUndefined();
  });

  it('is perhaps on a node that has not told yet', () => {
    const views = [...nodes([one], []), nodeView('new')];
    expect(whereOf(`${template}@${one}`, views)).toEqual([['a', 'new'], 'its image is on a alone']);
  });

  it.each([
    ['a disk', 'proxmox-vm', `https://images.example.test/a.qcow2@${one}`, 'import'],
    ['a disc', 'proxmox-vm', `https://images.example.test/a.iso?x=1@${one}`, 'iso'],
    ['a disc of ours', 'proxmox-vm', 'tar:/srv/a.iso', 'iso'],
    ['a root', 'proxmox-lxc', `tar:/srv/root.tar.gz@${one}`, 'vztmpl'],
    ['an image of a registry', 'proxmox-lxc', 'docker.io/library/nginx:1', 'vztmpl'],
    ['a file that is there', 'proxmox-lxc', file, undefined],
    ['a template', 'proxmox-vm', template, undefined],
    ['an image of a plain host', 'crun', 'docker.io/library/nginx:1', undefined],
    ['one that is not known yet', 'proxmox-vm', '', undefined],
  ])('%s for %s is brought as what a storage must take', (_title, runtime, image, content) => {
    expect(withImagePlaces(demand({ runtime, image }), []).imageContent).toBe(content);
  });

  it('keeps what is brought from nodes whose storages do not take it, and says why', () => {
    const runtimes = (...content: string[]) => new Map([['proxmox-vm', new Set(content)]]);
    const views = [
      nodeView('a', { runtimes: runtimes('iso') }),
      nodeView('b', { runtimes: runtimes('import') }),
    ];
    const image = `https://images.example.test/a.qcow2@${one}`;
    const decision = schedule(withImagePlaces(demand({ runtime: 'proxmox-vm', image }), views), views);
    expect(decision.node).toBe('b');
    expect(decision.explain().find(({ node }) => node === 'a')).toMatchObject({
      fits: false,
      reason: expect.stringContaining('none of its storages takes "import"') as string,
    });
  });

  it('keeps a copy from the other nodes, and says why', () => {
    const views = nodes([], [one]);
    const decision = schedule(withImagePlaces(demand({ image: `${file}@${one}` }), views), views);
    expect(decision.node).toBe('b');
    expect(decision.explain().find(({ node }) => node === 'a')).toMatchObject({
      fits: false,
      reason: 'its image is on storage local of b alone',
    });
  });
});
