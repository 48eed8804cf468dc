import { describe, expect, it } from 'vitest';
import type { Facts } from '../../control-plane/backends/proxmox/schema/facts.ts';
import { factsOfSchema, formatFacts, parseSchema } from './read-schema.ts';
import { subKeysOfTypeText } from './read-type-text.ts';
import { writeTypes } from './write-types.ts';

const prose = 'Prose that is not ours.';
const tree = [
  {
    path: '/nodes',
    children: [
      {
        path: '/nodes/{node}/lxc',
        info: {
          POST: {
            description: prose,
            parameters: {
              additionalProperties: 0,
              properties: {
                node: { type: 'string', format: 'pve-node', description: prose, typetext: '<string>' },
                memory: {
                  type: 'integer',
                  optional: 1,
                  minimum: '16',
                  default: 512,
                  verbose_description: prose,
                },
                'net[n]': {
                  type: 'string',
                  optional: 1,
                  format: {
                    name: { type: 'string', pattern: '\\S+', format_description: prose },
                    model: { type: 'string', default_key: 1, enum: ['a', 'b'], description: prose },
                    a: { alias: 'mac', keyAlias: 'model' },
                    mac: { type: 'string', optional: 1 },
                  },
                },
                startup: {
                  type: 'string',
                  optional: 1,
                  format: 'pve-startup-order',
                  typetext: '[[order=]\\d+] [,up=\\d+] ',
                },
              },
            },
            permissions: { check: ['perm', '/vms/{vmid}', ['VM.Allocate']], description: prose },
            returns: { type: 'string', description: prose },
          },
        },
      },
      { path: '/nodes/{node}/ceph', info: { GET: { parameters: {} } } },
    ],
  },
];

describe('facts of a schema', () => {
  it('are names, types, ranges and formats, and no prose', () => {
    const facts = factsOfSchema(tree, '9.2');
    expect(facts).toEqual({
      version: '9.2',
      formats: {
        'lxc.net[n]': {
          a: { alias: 'mac', keyAlias: 'model' },
          mac: { type: 'string', optional: true },
          model: { type: 'string', defaultKey: true, enum: ['a', 'b'] },
          name: { type: 'string', pattern: '\\S+' },
        },
        'pve-startup-order': {
          order: { type: 'integer', optional: true, defaultKey: true },
          up: { type: 'integer', optional: true },
        },
      },
      methods: {
        'POST /nodes/{node}/lxc': {
          parameters: {
            memory: { type: 'integer', optional: true, minimum: 16 },
            'net[n]': { type: 'string', optional: true, format: 'lxc.net[n]' },
            node: { type: 'string', format: 'pve-node' },
            startup: { type: 'string', optional: true, format: 'pve-startup-order' },
          },
          permission: ['perm', '/vms/{vmid}', ['VM.Allocate']],
        },
      },
    });
    expect(formatFacts(facts)).not.toContain('rose');
    expect(JSON.parse(formatFacts(facts))).toEqual(facts);
  });

  it('come from what a host has, a script or the array alone', () => {
    const array = JSON.stringify(tree, undefined, 3);
    expect(parseSchema(array)).toEqual(tree);
    expect(parseSchema(`const apiSchema = ${array}\n;\n\nlet other = [1];\n`)).toEqual(tree);
    expect(() => parseSchema('<html>')).toThrow(/found no array/);
  });

  it('tell formats of one name apart', () => {
    const method = (path: string, keys: object) => ({
      path,
      info: { POST: { parameters: { properties: { 'net[n]': { type: 'string', format: keys } } } } },
    });
    const facts = factsOfSchema(
      [
        method('/nodes/{node}/lxc', { a: { type: 'string' } }),
        method('/nodes/{node}/lxc/{vmid}/config', { b: { type: 'string' } }),
        method('/nodes/{node}/lxc/{vmid}/clone', { a: { type: 'string' } }),
      ],
      '9.2',
    );
    expect(Object.keys(facts.formats)).toEqual(['lxc.net[n]', 'lxc.net[n]#2']);
    expect(facts.methods['POST /nodes/{node}/lxc/{vmid}/clone']?.parameters['net[n]']?.format).toBe(
      'lxc.net[n]',
    );
  });
});

describe('sub-keys of a named format', () => {
  it('have what the text tells', () => {
    expect(
      subKeysOfTypeText(
        '[[host=]<ID[;ID2...]>] [,driver=<vfio|keep>] ,token=<A=user@realm!t=S> [,bits=<8-64|host>] [,on=<1|0>]',
      ),
    ).toEqual({
      host: { type: 'string', list: true, optional: true, defaultKey: true },
      driver: { type: 'string', enum: ['vfio', 'keep'], optional: true },
      token: { type: 'string' },
      bits: { type: 'string', optional: true },
      on: { type: 'boolean', optional: true },
    });
  });

  it.each(['<string>', '', '<node>[:<pri>]{,<node>[:<pri>]}*', '<boolean> (a=b)'])(
    'are not in %j',
    (text) => {
      expect(subKeysOfTypeText(text)).toBeUndefined();
    },
  );
});

describe('types', () => {
  it('take what any version takes, and need what all need', () => {
    const older: Facts = {
      version: '8.4',
      formats: { 'lxc.net[n]': { name: { type: 'string' } } },
      methods: {
        'GET /version': { parameters: {} },
        'POST /nodes/{node}/lxc': {
          parameters: {
            node: { type: 'string' },
            arch: { type: 'string', enum: ['amd64'] },
            gone: { type: 'boolean' },
            'net[n]': { type: 'string', optional: true, format: 'lxc.net[n]' },
          },
        },
      },
    };
    const newer: Facts = {
      ...older,
      formats: { 'lxc.net[n]': { name: { type: 'string' }, rate: { type: 'number' } } },
      methods: {
        'POST /nodes/{node}/lxc': {
          parameters: {
            node: { type: 'string' },
            arch: { type: 'string', enum: ['amd64', 'arm64'] },
            'net[n]': { type: 'string', optional: true, format: 'lxc.net[n]' },
          },
        },
      },
    };
    const text = writeTypes([older, newer]);
    expect(text.slice(text.indexOf('export'))).toBe(`export interface LxcNet {
  readonly name: string;
  readonly rate?: number | undefined;
}

export interface Methods {
  'GET /version': Record<never, never>;
  'POST /nodes/{node}/lxc': {
    readonly arch: 'amd64' | 'arm64';
    readonly gone?: boolean | undefined;
    readonly [name: \`net\${number}\`]: LxcNet | string | undefined;
    readonly node: string;
  };
}
`);
  });
});
