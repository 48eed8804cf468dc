import { describe, expect, it } from 'vitest';
import type { ClusterOptions, VmOptions } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { workloadRecord } from '../../test/fakes/records.ts';
import { diffFields, type FieldChange } from './spec-fields.ts';

const described = (parts: { readonly vm?: VmOptions; readonly cluster?: ClusterOptions }) => ({
  labels: {},
  annotations: {},
  spec: workloadRecord(parts).spec,
});
const between = (
  before: Parameters<typeof described>[0],
  after: Parameters<typeof described>[0],
): FieldChange[] => diffFields(described(before), described(after));

describe('what changes of a virtual machine and of a guest in its cluster', () => {
  it.each<[Partial<VmOptions>, FieldChange]>([
    [{ cores: 4 }, { field: 'vm.cores', before: '', after: '4' }],
    [{ balloonMib: 2048 }, { field: 'vm.balloon', before: '', after: '2GiB' }],
    [{ agent: false }, { field: 'vm.agent', before: '', after: 'false' }],
    [{ bios: 'ovmf' }, { field: 'vm.bios', before: '', after: 'ovmf' }],
    [{ cloudInit: { user: '', sshKeys: [] } }, { field: 'vm.cloudInit', before: '', after: '{}' }],
    [
      { disk: { ...plainVmOptions.disk, discard: true } },
      { field: 'vm.disk.discard', before: '', after: 'true' },
    ],
  ])('%j', (changes, told) => {
    const vm = { ...plainVmOptions, ...changes };
    expect(between({}, { vm })).toEqual([told]);
    expect(between({ vm }, {})).toEqual([{ field: told.field, before: told.after, after: '' }]);
  });

  it.each<[Partial<ClusterOptions>, FieldChange]>([
    [{ tags: ['a', 'b'] }, { field: 'cluster.tags', before: '', after: '[ a, b ]' }],
    [{ onBoot: false }, { field: 'cluster.onBoot', before: '', after: 'false' }],
    [{ pool: 'web' }, { field: 'cluster.pool', before: '', after: 'web' }],
    [
      { features: { keyctl: false, fuse: true, mount: [] } },
      { field: 'cluster.features.fuse', before: '', after: 'true' },
    ],
  ])('%j', (changes, told) => {
    expect(between({}, { cluster: { ...plainClusterOptions, ...changes } })).toEqual([told]);
  });
});
