import { describe, expect, it } from 'vitest';
import type { WorkloadSpec } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { workloadRecord } from '../../test/fakes/records.ts';
import { changeOf, type InstanceTemplate, instanceTemplate, type SpecChange } from './instance-template.ts';

const data = {
  name: 'data',
  mountPath: '/data',
  sizeMib: 10,
  pool: '',
  readOnly: false,
  keep: true,
} as const;
const resources = { cpuMillicores: 1, memoryMib: 2, diskMib: 3, pids: 4 } as const;
const { security } = plainGuestConfig;

function templateOf(spec: Partial<WorkloadSpec>, runtime: string): InstanceTemplate {
  const made = workloadRecord({ ...spec, runtime });
  const template = instanceTemplate({
    ...made,
    resolved: made.resolved && { ...made.resolved, runtime },
  });
  if (template === undefined) throw new Error('the record is resolved');
  return template;
}

type Spec = Partial<WorkloadSpec>;
const mine = { security: { ...security, ownIdRange: true } };

describe('changeOf', () => {
  it.each<[string, Spec, Spec, SpecChange, SpecChange]>([
    ['nothing', { replicas: 1 }, { replicas: 2 }, 'none', 'none'],
    ['limits', {}, { resources }, 'limits', 'limits'],
    [
      'the size of a data volume',
      { volumes: [data] },
      { volumes: [{ ...data, sizeMib: 20 }] },
      'limits',
      'limits',
    ],
    ['what it is told', {}, { env: { A: 'b' } }, 'anew', 'replace'],
    ['the pool of its root', {}, { rootPool: 'tank' }, 'replace', 'replace'],
    ['its rights', {}, { security: { ...security, privileged: true } }, 'replace', 'replace'],
    ['whose ids its root has', {}, mine, 'replace', 'replace'],
    ['that ids of its own are no longer asked for', mine, {}, 'anew', 'replace'],
    ['its machine', {}, { vm: { ...plainVmOptions, numa: true } }, 'anew', 'replace'],
    ['where it is in its cluster', { cluster: plainClusterOptions }, {}, 'anew', 'replace'],
  ])('of %s', (_what, before, after, ofContainer, ofOthers) => {
    const change = (runtime: string): SpecChange =>
      changeOf(templateOf(before, runtime), templateOf(after, runtime));
    expect([change('lxc'), change('crun')]).toEqual([ofContainer, ofOthers]);
    expect([change('proxmox-lxc'), change('proxmox-vm')]).toEqual([ofContainer, ofContainer]);
  });

  it('of keeping is nothing to copies whose volumes outlive them, and a change to those that take them along', () => {
    const kept = { volumes: [data] };
    const change = (runtime: string): SpecChange =>
      changeOf(templateOf(kept, runtime), templateOf({ volumes: [{ ...data, keep: false }] }, runtime));
    expect(['lxc', 'crun', 'proxmox-lxc', 'proxmox-vm'].map(change)).toEqual([
      'none',
      'none',
      'anew',
      'anew',
    ]);
  });
});
