import { describe, expect, it } from 'vitest';
import type { NodeName, Volume, VolumeClaim } from '#shared/model.ts';
import { instanceRecord, workloadRecord } from '../test/fakes/records.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { demandOf, featuresOf } from './demand.ts';

const claim = (name: string, pool: string, sizeMib: number): VolumeClaim => ({
  name,
  mountPath: `/${name}`,
  sizeMib,
  pool,
  readOnly: false,
  keep: true,
});
const resources = { cpuMillicores: 1, memoryMib: 1, diskMib: 100, pids: 1 };
const volumes = [claim('data', 'tank', 500), claim('logs', '', 50), claim('old', 'tank', 30)];
const instance = instanceRecord(workloadRecord({ resources, volumes }), 1);
const lying = { claim: 'old', sizeMib: 20, node: 'h1', metadata: { name: 'web-old-0' } } as Volume;

describe('a demand', () => {
  it('adds up roots and volumes by pool', () => {
    const { storage, anchor, features } = demandOf(instance);
    expect(storage).toEqual([
      { pool: '', mib: 150, isNew: true },
      { pool: 'tank', mib: 530, isNew: true },
    ]);
    expect(anchor).toBeUndefined();
    expect(features).toEqual(['mounts']);
  });

  it.each([
    ['crun', true, ['mounts']],
    ['proxmox-lxc', true, ['mounts', 'volumes-keep']],
    ['proxmox-vm', true, ['mounts', 'volumes-keep']],
    ['proxmox-lxc', false, ['mounts']],
  ])('of %s asks for volumes that can be kept where they are to be: %s', (runtime, keep, features) => {
    const some = volumes.map((each) => ({ ...each, keep }));
    expect(demandOf({ ...instance, spec: { ...instance.spec, runtime, volumes: some } }).features).toEqual(
      features,
    );
  });

  it('asks for what a volume grows by alone, on its node', () => {
    const { storage, anchor } = demandOf(instance, { number: 0, volumes: [lying], anchor: lying });
    expect(storage).toEqual([
      { pool: '', mib: 150, isNew: true },
      { pool: 'tank', mib: 510, isNew: true },
    ]);
    expect(anchor).toEqual({ volume: 'web-old-0', node: 'h1' as NodeName });
  });

  it('names the features that a spec needs', () => {
    const { spec } = workloadRecord({
      network: 'bridged',
      devices: ['/dev/fuse'],
      lxcKeys: { 'lxc.mount.auto': 'proc' },
      security: { ...instance.spec.security, privileged: true, nesting: true },
    });
    expect(featuresOf(spec)).toEqual(['network-bridged', 'devices', 'nesting', 'privileged', 'lxc-keys']);
    expect(featuresOf(workloadRecord().spec)).toEqual([]);
  });

  it.each([
    [{ vm: plainVmOptions }, ['vm-options']],
    [{ cluster: { ...plainClusterOptions, tags: ['a'] } }, ['cluster-options']],
    [
      { cluster: { ...plainClusterOptions, sshKeys: ['ssh-ed25519 AAAA'] } },
      ['cluster-options', 'container-options'],
    ],
  ])('names what only clusters have: %j', (parts, features) => {
    expect(featuresOf(workloadRecord(parts).spec)).toEqual(features);
  });
});
