/** Images on the nodes of a fleet of real processes, through the command line as a person would. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fleet, startFleet } from '../../scripts/fleet.ts';
import { prepareHost } from '../../scripts/host.ts';
import { shellTarball } from '../image-server.ts';
import { apply, ask, remove, running, specText } from './drive.ts';

let fleet: Fleet;
let undo: () => void;
let image: string;
let tarball: string;

interface ImageRow {
  readonly node: string;
  readonly unreachable?: string;
  readonly image?: {
    readonly digest: string;
    readonly references?: readonly string[];
    readonly usedBy?: number;
  };
}

async function imagesNamed(part: string): Promise<ImageRow[]> {
  const rows = await ask<ImageRow[]>(fleet, 'image', 'list');
  expect(rows.filter(({ unreachable }) => unreachable !== undefined)).toEqual([]);
  return rows.filter(({ image }) => image?.references?.some((reference) => reference.includes(part)));
}

beforeAll(async () => {
  undo = prepareHost(() => {});
  fleet = await startFleet({ hosts: 2, say: () => {} });
  image = await fleet.publishImage('pulled', '1');
  const templates = path.join(fleet.folder, 'templates');
  mkdirSync(templates);
  writeFileSync(path.join(templates, 'shell.tar.xz'), (await shellTarball()).bytes);
  tarball = `tar:${templates}/shell.tar.xz`;
}, 120_000);

afterAll(async () => {
  const swept = await fleet?.tearDown();
  undo?.();
  expect(swept).toEqual([]);
}, 60_000);

describe('images', () => {
  it.each([
    ['a registry', () => image],
    ['a tarball', () => tarball],
  ])('from %s are pulled on every node, listed and removed', { timeout: 90_000 }, async (_, reference) => {
    const pulled = await ask<{ node: string; done?: boolean }[]>(fleet, 'image', 'pull', reference());
    expect(pulled.map(({ node, done }) => [node, done])).toEqual([
      ['h1', true],
      ['h2', true],
    ]);
    const listed = await imagesNamed(reference());
    expect(listed.map(({ node }) => node)).toEqual(['h1', 'h2']);
    const digest = listed[0]?.image?.digest ?? '';
    const removed = await ask<{ node: string }[]>(
      fleet,
      'image',
      'remove',
      digest.slice(0, 19),
      '--node',
      'h1',
    );
    expect(removed).toHaveLength(1);
    expect((await imagesNamed(reference())).map(({ node }) => node)).toEqual(['h2']);
    await ask(fleet, 'image', 'remove', reference());
    expect(await imagesNamed(reference())).toEqual([]);
    expect((await fleet.drover(['image', 'remove', reference()])).code).toBe(5);
  });

  it('stay while an instance is made from them, and a tarball runs like any other', {
    timeout: 90_000,
  }, async () => {
    const command = ['/bin/sh', '-c', 'sleep 1000'];
    await apply(fleet, specText('shell', tarball, { command, runtime: 'crun' }), '--wait');
    const [row] = await running(fleet, 'shell', 1);
    const [held, ...more] = await imagesNamed(tarball);
    expect(more).toEqual([]);
    expect(held).toMatchObject({ node: row?.node, image: { usedBy: 1 } });
    const refused = await fleet.drover(['image', 'remove', tarball]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/1 instance is made from it/);
    await remove(fleet, 'shell');
    await ask(fleet, 'image', 'remove', tarball);
  });
});
