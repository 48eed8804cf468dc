import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig } from './config.ts';

function withFile<T>(content: string, read: (file: string) => T): T {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'drover-config-'));
  try {
    const file = path.join(folder, 'agent.yaml');
    writeFileSync(file, content);
    return read(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('the configuration', () => {
  it('has defaults for everything, and cannot be changed', () => {
    const { config } = readConfig([], {});
    expect(config).toMatchObject({ stateDir: '/var/lib/drover/agent', idRange: { base: 1_000_000 } });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it.each([
    ['{}', { base: 1_000_000, size: 65_536, count: 1000 }],
    ['idRange: { base: 200000, size: 65536 }', { base: 200_000, size: 65_536, count: 0 }],
    ['idRange: { base: 200000, size: 65536, count: 2 }', { base: 200_000, size: 65_536, count: 2 }],
  ])('takes no more ids than it was given: %s', (content, idRange) => {
    withFile(content, (file) => expect(readConfig(['--config', file], {}).config).toMatchObject({ idRange }));
  });

  it('completes a policy for images, and takes servers with and without TLS', () => {
    const servers = '{ a: { url: "https://a/x" }, b: { url: "http://b", insecure: true } }';
    withFile(`images: { maxUnusedMib: 5 }\nimageServers: ${servers}\n`, (file) => {
      const { images, imageServers } = readConfig(['--config', file], {}).config;
      expect(images).toEqual({ keepUnusedHours: 168, maxUnusedMib: 5, pinned: [] });
      expect(Object.keys(imageServers)).toEqual(['a', 'b']);
    });
  });

  it('takes flags before the file, and the file from the environment', () => {
    withFile('stateDir: /srv/a\nlabels: { zone: a }\n', (file) => {
      const { config } = readConfig(['--state-dir', '/srv/b'], { DROVER_AGENT_CONFIG: file });
      expect(config).toMatchObject({ stateDir: '/srv/b', labels: { zone: 'a' } });
    });
  });

  it.each([
    ['an unknown key', 'stateDirectory: /x', 'stateDirectory'],
    ['a relative path', 'stateDir: here', 'stateDir'],
    ['a path that leaves', 'runDir: /a/../b', 'runDir'],
    ['a count without an end', 'idRange: { base: 1000000, size: 65536, count: 65536 }', 'idRange'],
    ['a range with another key', 'idRange: { base: 1000000, size: 65536, pool: 3 }', 'idRange'],
    ['a range that holds the host', 'idRange: { base: 0, size: 65536 }', 'idRange'],
    ['a template root that is relative', 'templateRoots: [here]', 'templateRoots'],
    ['an image server without TLS', 'imageServers: { lab: { url: "http://lab" } }', 'imageServers'],
    ['an image server in capitals', 'imageServers: { Lab: { url: "https://lab" } }', 'imageServers'],
    [
      'an image server with another key',
      'imageServers: { lab: { url: "https://lab", x: 1 } }',
      'imageServers',
    ],
    ['images kept for less than no time', 'images: { keepUnusedHours: -1 }', 'images'],
    ['a policy with another key', 'images: { keepHours: 1 }', 'images'],
    ['a pool of no driver', 'pools: [{ name: fast }]', 'pools'],
    ['a ZFS pool without a dataset', 'pools: [{ name: fast, driver: zfs }]', 'pools'],
    ['a dataset that is a flag', 'pools: [{ name: fast, driver: zfs, dataset: "-r" }]', 'pools'],
    ['a dataset with a snapshot', 'pools: [{ name: fast, driver: zfs, dataset: "tank@x" }]', 'pools'],
    ['a dataset that leaves', 'pools: [{ name: fast, driver: zfs, dataset: "tank/../x" }]', 'pools'],
    ['a pool in a relative place', 'pools: [{ name: a, driver: directory, directory: x }]', 'pools'],
    [
      'two pools of one name',
      'pools: [{ name: a, driver: directory }, { name: a, driver: zfs, dataset: t }]',
      'pools',
    ],
    [
      'two pools in one dataset',
      'pools: [{ name: a, driver: zfs, dataset: t }, { name: b, driver: zfs, dataset: t }]',
      'pools',
    ],
    ['a label of another shape', 'labels: { "a b": c }', 'labels'],
    ['a name in capitals', 'name: H1', 'name'],
    ['an address without a port', 'controlPlane: fleet', 'controlPlane'],
    ['a firewall that is no truth', 'firewall: "yes"', 'firewall'],
    ['a cgroup that is not ours', 'cgroupPrefix: /system', 'cgroupPrefix'],
  ])('refuses %s', (_name, content, field) => {
    const fault = expect.objectContaining({
      kind: 'invalid-argument',
      faults: [expect.objectContaining({ field })],
    });
    withFile(content, (file) => expect(() => readConfig(['--config', file], {})).toThrow(fault));
  });

  it('names every fault at once', () => {
    withFile('stateDir: here\nname: H1\n', (file) => {
      expect(() => readConfig(['--config', file], {})).toThrow(/stateDir.*name/);
    });
  });
});
