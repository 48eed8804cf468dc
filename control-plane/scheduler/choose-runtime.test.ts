import { describe, expect, it } from 'vitest';
import type { Routing, RoutingRule } from '#shared/model.ts';
import { workloadRecord } from '../../test/fakes/records.ts';
import { chooseRuntime, runtimeOf } from './choose-runtime.ts';

const rules: RoutingRule[] = [
  {
    name: 'system',
    workload: undefined,
    labels: {},
    image: { kind: 'glob', text: 'lxc:*' },
    runtime: 'lxc',
  },
  {
    name: 'old',
    workload: { kind: 'regex', text: 'legacy-[a-z]+' },
    labels: { tier: { kind: 'exact', text: 'back' } },
    image: undefined,
    runtime: 'lxc',
  },
];
const routing: Routing = { rules, defaultRuntime: 'crun', revision: 1 };

describe('the choice of a runtime', () => {
  it.each([
    ['web', {}, 'registry.example/web:1', 'crun', 'no rule matches'],
    ['web', {}, 'lxc:images/debian/12', 'lxc', 'rule "system"'],
    ['legacy-mail', { tier: 'back' }, 'registry.example/mail:1', 'lxc', 'rule "old"'],
    ['legacy-mail', {}, 'registry.example/mail:1', 'crun', 'no rule matches'],
    [
      'legacy-mail',
      JSON.parse('{"__proto__": "back"}'),
      'registry.example/mail:1',
      'crun',
      'no rule matches',
    ],
    ['my-legacy-mail', { tier: 'back' }, 'registry.example/mail:1', 'crun', 'no rule matches'],
  ])('%s %o %s: %s, %s', (name, labels, image, runtime, runtimeBecause) => {
    expect(chooseRuntime({ name, labels, image }, routing)).toEqual({ runtime, runtimeBecause });
  });

  it('is between all four, by where an image comes from and by labels', () => {
    const rule = (name: string, runtime: string, image: string): RoutingRule => ({
      name,
      workload: undefined,
      labels: {},
      image: { kind: 'glob', text: image },
      runtime,
    });
    const four: Routing = {
      rules: [
        rule('roots', 'proxmox-lxc', 'proxmox:*:vztmpl/*'),
        rule('machines', 'proxmox-vm', 'proxmox:*'),
        ...rules,
      ],
      defaultRuntime: 'crun',
      revision: 1,
    };
    const chosen = (image: string) => chooseRuntime({ name: 'web', labels: {}, image }, four);
    expect(chosen('proxmox:local:vztmpl/debian.tar.zst')).toEqual({
      runtime: 'proxmox-lxc',
      runtimeBecause: 'rule "roots"',
    });
    for (const image of ['proxmox:template/9000', 'proxmox:local:import/noble.qcow2'])
      expect(chosen(image)).toEqual({ runtime: 'proxmox-vm', runtimeBecause: 'rule "machines"' });
    expect(chosen('lxc:images/debian/12').runtime).toBe('lxc');
    expect(chosen('registry.example/web:1').runtime).toBe('crun');
  });

  it('is the one that the spec names, whatever the rules say', () => {
    const workload = workloadRecord({ runtime: 'crun', image: 'lxc:images/debian/12' });
    expect(runtimeOf(workload, routing)).toEqual({ runtime: 'crun', runtimeBecause: 'named in the spec' });
  });

  it('stays as it was chosen when the rules change', () => {
    const workload = workloadRecord({ runtime: '', image: 'lxc:images/debian/12' });
    const chosen = runtimeOf({ ...workload, resolved: undefined }, routing);
    expect(chosen).toEqual({ runtime: 'lxc', runtimeBecause: 'rule "system"' });
    const resolved = { ...(workload.resolved as NonNullable<typeof workload.resolved>), ...chosen };
    expect(runtimeOf({ ...workload, resolved }, { ...routing, rules: [] })).toEqual(chosen);
  });
});
