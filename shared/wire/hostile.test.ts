/** Hostile text in every string field that anybody may send, the fields taken from the proto itself. */
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { descriptorSet } from '#shared/gen/descriptor.ts';
import {
  Condition,
  ExecStart,
  Image,
  InstanceSpec,
  NetworkMode,
  NodeFacts,
} from '#shared/gen/drover/model/v1/model.ts';
import { NetworkDocument, WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { Order } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import { parseExecStart } from '#shared/wire/exec.ts';
import { parseInstanceSpec, parseOrder } from '#shared/wire/instance.ts';
import { parseCondition, parseImage, parseNodeFacts } from '#shared/wire/node.ts';
import { parseWorkloadDocument } from '#shared/wire/workload.ts';

const corpus = [
  '-x',
  '--help',
  '-r',
  '.',
  '..',
  '../x',
  'a/b',
  ' ',
  'a b',
  'a\nb',
  'a\r',
  '\0',
  'a\0b',
  '%n',
  '%s',
  '@x',
  'a@b',
  'a;b',
  '$(id)',
  '`id`',
  'é',
  'e\u0301',
  '\u202e',
  'x'.repeat(300),
  '__proto__',
  'constructor',
  '\x1b[2J',
  'a=b',
  '=b',
  'a,b',
];

interface Field {
  readonly name: string;
  readonly label: string;
  readonly type: string;
  readonly typeName: string;
}
interface Descriptor {
  readonly name: string;
  readonly field: readonly Field[];
  readonly nestedType: readonly Descriptor[];
}

const loaded = loadFileDescriptorSetFromBuffer(Buffer.from(descriptorSet, 'base64'), {});
const descriptors = new Map(
  Object.entries(loaded).map(([name, one]) => [name, (one as { type?: Descriptor }).type]),
);
const camel = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const find = (typeName: string, inside: Descriptor): Descriptor | undefined =>
  inside.nestedType.find(({ name }) => name === typeName.split('.').at(-1)) ??
  [...descriptors].find(([name]) => name.split('.').at(-1) === typeName.split('.').at(-1))?.[1];

type Place = { readonly path: readonly string[]; readonly kind: 'text' | 'list' | 'key' | 'value' };

/** Every place in a message where a string stands, maps and lists included. */
function placesOf(descriptor: Descriptor, trail: readonly string[] = []): Place[] {
  return descriptor.field.flatMap((field): Place[] => {
    const path = [...trail, camel(field.name)];
    const repeated = field.label === 'LABEL_REPEATED';
    if (field.type === 'TYPE_STRING') return [{ path, kind: repeated ? 'list' : 'text' }];
    const inner = field.type === 'TYPE_MESSAGE' ? find(field.typeName, descriptor) : undefined;
    if (inner === undefined) return [];
    if (inner.name.endsWith('Entry'))
      return [
        { path, kind: 'key' },
        { path, kind: 'value' },
      ];
    return placesOf(inner, repeated ? [...trail, `${camel(field.name)}[]`] : path);
  });
}

function plant(message: object, { path, kind }: Place, text: string): object {
  const copy = structuredClone(message) as Record<string, unknown>;
  let at = copy;
  for (const step of path.slice(0, -1)) at = descend(at, step);
  const last = path.at(-1) ?? '';
  const map = Object.fromEntries([[kind === 'key' ? text : 'KEY', kind === 'value' ? text : 'value']]);
  at[last] = kind === 'text' ? text : kind === 'list' ? [text] : map;
  return copy;
}

/** "volumes[]" is the first of a list, which the valid message must have: else others of its fields would be refused. */
function descend(at: Record<string, unknown>, step: string): Record<string, unknown> {
  if (!step.endsWith('[]')) return (at[step] ??= {}) as Record<string, unknown>;
  const [first] = (at[step.slice(0, -2)] ?? []) as Record<string, unknown>[];
  if (first === undefined) throw new Error(`the valid message has no ${step}`);
  return first;
}

const digest = `sha256:${'a'.repeat(64)}`;
const id = '01890000-0000-7000-8000-000000000000';
const image = 'registry.example/web';
interface Case {
  readonly type: string;
  readonly valid: object;
  readonly parse: (message: never) => unknown;
  /** Fields whose text is data that nobody interprets: NUL is refused, all else kept. */
  readonly data: readonly string[];
}
const guest = {
  volumes: [{ name: 'data', mountPath: '/data' }],
  networks: [{ network: 'lan' }],
  ports: [{ guestPort: 80, protocol: 'tcp' }],
  vm: { cpuType: 'host', cloudInit: { user: 'admin' } },
  cluster: { tags: ['web'] },
};
const cases: readonly Case[] = [
  {
    type: 'drover.model.v1.InstanceSpec',
    valid: InstanceSpec.fromPartial({
      runtime: 'crun',
      image: `${image}@${digest}`,
      displayName: 'web-aaaaa',
      workload: 'web',
      command: ['/bin/sh'],
      network: NetworkMode.NETWORK_MODE_BRIDGED,
      guest,
      assigned: {
        attachments: [
          {
            network: 'lan',
            bridge: 'drv-lan',
            interface: 'eth0',
            mac: '02:00:00:00:00:01',
            addresses: ['10.20.0.5/24'],
            routes: [{ destination: '192.168.0.0/16', via: '10.20.0.9' }],
          },
        ],
        volumes: [{ name: 'data', volumeId: id }],
        ports: [{ hostPort: 80, guestPort: 80, protocol: 'tcp' }],
      },
    }),
    parse: parseInstanceSpec,
    data: ['command', 'env'],
  },
  {
    type: 'drover.fleet.v1.WorkloadDocument',
    valid: WorkloadDocument.fromPartial({
      metadata: { name: 'web' },
      spec: { image: `${image}:1`, network: NetworkMode.NETWORK_MODE_BRIDGED, guest },
    }),
    parse: parseWorkloadDocument,
    // The head's id is the control plane's own to give: what a document says there is never read.
    data: ['spec.command', 'spec.env', 'metadata.annotations', 'metadata.id', 'spec.placement.require'],
  },
  {
    type: 'drover.fleet.v1.NetworkDocument',
    valid: NetworkDocument.fromPartial({
      metadata: { name: 'lan' },
      spec: {
        dns: {},
        subnets: [{ cidr: '10.20.0.0/24' }],
        routes: [{ destination: '192.168.0.0/16', via: '10.20.0.9' }],
      },
    }),
    parse: (message: never) => parseApplyDocuments({ networks: [message], documents: [] }),
    data: ['metadata.annotations', 'metadata.id'],
  },
  {
    type: 'drover.model.v1.ExecStart',
    valid: ExecStart.fromPartial({ instance: 'web-aaaaa', command: ['/bin/sh'] }),
    parse: (value: never) => parseExecStart({ input: { $case: 'start', value } }),
    // A name is looked up and nothing else; the program and its environment are run literally.
    data: ['instance', 'command', 'env', 'workingDir'],
  },
  {
    type: 'drover.runtime.v1.Order',
    valid: Order.fromPartial({ fleetId: id, instanceId: id, requestId: id }),
    parse: parseOrder,
    data: [],
  },
  {
    type: 'drover.model.v1.NodeFacts',
    valid: NodeFacts.fromPartial({
      name: 'h1',
      runtimes: [{ name: 'crun' }],
      pools: [{ name: 'local', driver: 'directory' }],
    }),
    parse: parseNodeFacts,
    // Text for people: control characters are taken out of it.
    data: [
      'architecture',
      'os',
      'kernel',
      'cgroups',
      'agentVersion',
      'extra',
      'runtimes[].version',
      'runtimes[].detail',
      'pools[].version',
      'pools[].detail',
    ],
  },
  {
    type: 'drover.model.v1.Condition',
    valid: Condition.fromPartial({ type: 'Ready' }),
    parse: parseCondition,
    data: ['type', 'reason', 'message'],
  },
  {
    type: 'drover.model.v1.Image',
    valid: Image.fromPartial({ digest }),
    parse: parseImage,
    data: ['references'],
  },
];

/** What may stand in a field that names something, whatever the field. */
const harmless = /^[A-Za-z0-9_](?:[A-Za-z0-9._:-]*[A-Za-z0-9_])?$/;
/** Labels have a prefix, images a host and pools of a cluster another one before the slash. */
const harmlessWithSlash = /^[A-Za-z0-9]+\/[A-Za-z0-9]+$/;
const slashed = /(^|\.)(labels|image|cluster\.pool)$/;

/** Undefined when the parser took it, the error when it refused it; anything else is a bug. */
function refusalOf(one: Case, message: object): DroverError | undefined {
  try {
    one.parse(message as never);
    return undefined;
  } catch (error) {
    if (error instanceof DroverError && error.kind === 'invalid-argument') return error;
    throw error;
  }
}

describe.each(cases)('$type', (one) => {
  const descriptor = descriptors.get(one.type);
  const places = descriptor === undefined ? [] : placesOf(descriptor);

  it('is taken as it is without hostile text', () => {
    expect(places.length).toBeGreaterThan(0);
    expect(refusalOf(one, one.valid)).toBeUndefined();
  });

  it.each(places)('refuses hostile text in $path ($kind)', (place) => {
    const isData = one.data.includes(place.path.join('.'));
    for (const text of corpus) {
      const refusal = refusalOf(one, plant(one.valid, place, text));
      const path = place.path.join('.');
      if (slashed.test(path) && harmlessWithSlash.test(text)) continue;
      if (refusal === undefined && !isData) expect(text).toMatch(harmless);
      if (refusal !== undefined) expect(refusal.message).not.toBe('');
    }
  });

  it('is quick about long text', () => {
    const long = ['a', 'a.', 'a-', 'a/', '/a', '0:', '::', '1.', 'é', ' '].map((part) =>
      part.repeat(100_000),
    );
    for (const place of places) for (const text of long) refusalOf(one, plant(one.valid, place, text));
  });

  it('answers any text with a refusal or a value, never with a bug', () => {
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.string({ unit: 'binary' }), (place, text) => {
        refusalOf(one, plant(one.valid, place, text));
      }),
      { numRuns: 300 },
    );
  });
});

it('keeps hostile keys as keys', () => {
  const spec = parseInstanceSpec({
    ...InstanceSpec.fromPartial(cases[0]?.valid ?? {}),
    env: Object.fromEntries([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]),
  });
  expect(Object.entries(spec.env)).toEqual([
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
  expect(Object.getPrototypeOf(spec.env)).toBeNull();
});
