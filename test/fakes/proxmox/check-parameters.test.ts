import { describe, expect, it } from 'vitest';
import { factsFor } from '../../../control-plane/backends/proxmox/schema/facts.ts';
import { checkParameters } from './check-parameters.ts';
import { matchPath } from './match-path.ts';

const facts = factsFor('9.2.11');
const create = { node: 'pve1', vmid: '101', ostemplate: 'local:vztmpl/a.tar.gz' };

describe('the schema of a Proxmox server', () => {
  it.each<[Record<string, unknown>, Record<string, string> | undefined]>([
    [{}, undefined],
    [{ onboot: true }, undefined],
    [{ memory: -5 }, { memory: 'value must have a minimum value of 16' }],
    [{ net0: 'eth0,=x' }, { net0: expect.stringMatching(/^invalid format - value without key/) }],
    [{ net0: 'name=eth0,name=eth1' }, { net0: expect.stringContaining('duplicate key') }],
    [{ hostname: 'a'.repeat(300) }, { hostname: expect.stringContaining('invalid format') }],
    [{ tags: ['a', 'b!'] }, { tags: 'invalid format - invalid characters in tag\n' }],
    [{ swap: [1, 2] }, { swap: "type check ('integer') failed - got ARRAY" }],
    [{ unique: 1 }, { restore: "missing property required by 'unique'" }],
  ])('%j', (more, errors) => {
    expect(checkParameters(facts, 'POST', '/nodes/{node}/lxc', { ...create, ...more })).toEqual(errors);
  });

  it('takes one word for a list of them', () => {
    const parameters = { node: 'pve1', vmid: 101, command: 'uptime' };
    expect(
      checkParameters(facts, 'POST', '/nodes/{node}/qemu/{vmid}/agent/exec', parameters),
    ).toBeUndefined();
  });

  it('asks of a rule what its type needs', () => {
    const rule = { rule: 'r1', resources: 'ct:101', type: 'node-affinity' };
    expect(checkParameters(facts, 'POST', '/cluster/ha/rules', rule)).toEqual({
      nodes: 'property is missing and it is not optional',
    });
    expect(checkParameters(facts, 'POST', '/cluster/ha/rules', { ...rule, nodes: 'pve1' })).toBeUndefined();
  });
});

describe('paths', () => {
  it.each([
    ['GET', '/nodes/pve1/lxc/', 'GET /nodes/{node}/lxc', { node: 'pve1' }],
    ['GET', '/version', 'GET /version', {}],
    [
      'DELETE',
      '/nodes/pve1/storage/local/content/local%3Avztmpl%2Fa.tar.gz',
      'DELETE /nodes/{node}/storage/{storage}/content/{volume}',
      { node: 'pve1', storage: 'local', volume: 'local:vztmpl/a.tar.gz' },
    ],
  ])('%s %s is %s', (verb, path, name, parameters) => {
    expect(matchPath(facts, verb, path)).toMatchObject({ name, parameters });
  });

  it.each([
    ['PUT', '/version'],
    ['GET', '/nope'],
    ['GET', '/pools/a%2Fb'],
    ['GET', '/nodes/pve1/lxc/101/nope'],
    ['HEAD', '/version'],
  ])('%s %s is not there', (verb, path) => expect(matchPath(facts, verb, path)).toBeUndefined());
});
