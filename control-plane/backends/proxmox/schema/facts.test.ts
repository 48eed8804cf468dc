import { describe, expect, it } from 'vitest';
import { factsFor, methodFacts, subKeysOf, takes, valueFacts } from './facts.ts';

describe('facts of a version', () => {
  it.each([
    ['8.4.21', '8.4'],
    ['8.0.2', '8.4'],
    ['9.0.3', '9.2'],
    ['9.2.11', '9.2'],
    ['10.1', '9.2'],
    ['9', '9.2'],
  ])('takes for %s those of %s', (told, used) => expect(factsFor(told).version).toBe(used));

  it.each(['7.4-17', '', 'pve', '-1', '8x', '1e9'])('refuses %j by name', (told) => {
    expect(() => factsFor(told)).toThrow(
      expect.objectContaining({
        kind: 'unimplemented',
        message: expect.stringContaining(JSON.stringify(told)),
      }),
    );
  });

  it('knows what only one version has', () => {
    const create = 'POST /nodes/{node}/lxc';
    expect(takes(factsFor('8.4.21'), create, 'entrypoint')).toBe(false);
    expect(takes(factsFor('9.2.11'), create, 'entrypoint')).toBe(true);
    expect(methodFacts(factsFor('8.4.21'), 'POST /cluster/ha/rules')).toBeUndefined();
    expect(methodFacts(factsFor('9.2.11'), 'POST /cluster/ha/rules')?.parameters['nodes']).toEqual({
      type: 'string',
      format: 'pve-ha-node-list',
      onlyFor: ['node-affinity'],
    });
  });

  it('finds the members of a family, and nothing that is not one', () => {
    const { parameters } = methodFacts(factsFor('8.4.21'), 'POST /nodes/{node}/qemu') ?? { parameters: {} };
    expect(valueFacts(parameters, 'net31')?.format).toBe('qemu.net[n]');
    expect(valueFacts(parameters, 'numa')?.type).toBe('boolean');
    expect(valueFacts(parameters, 'numa0')?.format).toBe('qemu.numa[n]');
    const others = ['net', 'net01', 'net-1', 'net0 ', '0', 'constructor', '__proto__', 'toString0'];
    expect(others.filter((name) => valueFacts(parameters, name) !== undefined)).toEqual([]);
  });

  it('knows the sub-keys of inline and of named formats', () => {
    const facts = factsFor('9.2.11');
    expect(subKeysOf(facts, { format: 'qemu.net[n]' })).toMatchObject({
      model: { type: 'string', defaultKey: true },
      virtio: { alias: 'macaddr', keyAlias: 'model' },
    });
    expect(subKeysOf(facts, { format: 'pve-startup-order' })).toEqual({
      down: { type: 'integer', optional: true },
      order: { type: 'integer', optional: true, defaultKey: true },
      up: { type: 'integer', optional: true },
    });
    expect(subKeysOf(facts, { format: 'pve-node' })).toBeUndefined();
  });
});
