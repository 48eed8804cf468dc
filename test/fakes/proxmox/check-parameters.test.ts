import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { factsFor } from '../../../control-plane/backends/proxmox/schema/facts.ts';
import { checkParameters } from './check-parameters.ts';
import { matchPath } from './match-path.ts';
import { recordedExchanges } from './recordings.ts';

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

/** What a handler refuses after the schema has passed it: these words are not the schema's. */
const ofHandlers =
  /^(Token already exists|invalid ACL path|VM \d+ already exists|unknown option|Only root may|you can't use|target is local|hotplug problem|wrong file extension|no such task|unable to parse worker upid)/;

/** What is refused before the schema is asked: rights, and a node that has to be reached first. */
const earlier = (status: number, message: string): boolean =>
  status === 403 || status === 595 || status === 596 || message.includes('look like a valid user name');

/** A form as the server reads it: what follows a second "=" is lost, and repeated keys become an array. */
function readForm(body: string): Record<string, unknown> {
  const read: Record<string, unknown> = {};
  for (const [name = '', value = ''] of body.split('&').map((pair) => pair.split('=')))
    read[name] = name in read ? [read[name], value] : value;
  return read;
}

describe.each(['8.4.21', '9.2.11'] as const)('every request that Proxmox VE %s answered', (version) => {
  const known = factsFor(version);
  it('is passed or refused as it was', () => {
    const differ: unknown[] = [];
    let refused = 0;
    let passed = 0;
    for (const { flow, request, response } of recordedExchanges(version)) {
      const found = matchPath(known, request.method, request.path.split('?')[0] ?? '');
      if (response === null || (request.encoding === 'json' && request.rawBody !== undefined)) continue;
      const { status, body } = response;
      if (found === undefined) {
        if (status !== 501) differ.push({ flow, request, status });
        continue;
      }
      const given = {
        ...(request.rawBody === undefined ? request.params : readForm(request.rawBody)),
        ...Object.fromEntries(new URLSearchParams(request.path.split('?')[1])),
        ...Object.fromEntries((request.files ?? []).map(({ field, filename }) => [field, filename])),
        ...found.parameters,
      };
      const wanted = Object.entries(status === 400 ? (body.errors ?? {}) : {});
      const ofSchema = Object.fromEntries(wanted.filter(([, text]) => !ofHandlers.test(text)));
      const errors = checkParameters(known, request.method, found.template, given) ?? {};
      if (!isDeepStrictEqual(errors, ofSchema) && !earlier(status, body.message ?? ''))
        differ.push({ flow, request, errors, ofSchema });
      if (Object.keys(ofSchema).length > 0) refused += 1;
      else passed += 1;
    }
    expect(differ).toEqual([]);
    expect(refused).toBeGreaterThan(30);
    expect(passed).toBeGreaterThan(1000);
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
