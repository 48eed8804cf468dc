import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { WorkloadDocument, WorkloadSpec } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatWorkloadSpec, parseWorkloadDocuments, parseWorkloadSpec } from './workload.ts';

const image = 'registry.example/web:1.4';
type Partials = Parameters<typeof WorkloadSpec.fromPartial>[0];

const document = (spec: Partials, name = 'web'): WorkloadDocument =>
  WorkloadDocument.fromPartial({ metadata: { name }, spec: { image, ...spec } });

function faultsOf(documents: readonly WorkloadDocument[]): string[] {
  try {
    parseWorkloadDocuments(documents);
  } catch (error) {
    if (error instanceof DroverError) return error.faults.map(({ field }) => field);
    throw error;
  }
  return [];
}

describe('parseWorkloadDocuments', () => {
  it('gives defaults to what is left out', () => {
    const [parsed] = parseWorkloadDocuments([document({})]);
    expect(parsed).toMatchObject({
      project: 'default',
      name: 'web',
      expectedRevision: 0,
      spec: {
        replicas: 1,
        network: 'none',
        restart: { policy: 'always', maxAttempts: 0 },
        placement: { require: [], strategy: 'spread' },
        stopGraceMs: 10_000,
        resources: { pids: 4096 },
      },
    });
  });

  it('gives a virtual machine minutes to end in', () => {
    const [machine, named] = parseWorkloadDocuments([
      document({ runtime: 'proxmox-vm' }),
      document({ runtime: 'proxmox-vm', stopGraceMs: 5000 }, 'shop'),
    ]);
    expect(machine?.spec.stopGraceMs).toBe(180_000);
    expect(named?.spec.stopGraceMs).toBe(5000);
  });

  it.each<{ name: string; spec: Partials; fields: readonly string[] }>([
    { name: 'no replicas at all', spec: { replicas: 0 }, fields: [] },
    { name: 'too many replicas', spec: { replicas: 1001 }, fields: ['replicas'] },
    { name: 'a name that is no image', spec: { image: 'Not An Image' }, fields: ['image'] },
    { name: 'NUL in a word', spec: { command: ['/bin/sh', 'a\0b'] }, fields: ['command[1]'] },
    { name: 'a variable without a name', spec: { env: { '': 'x' } }, fields: ['env.'] },
    {
      name: 'a selector that is none',
      spec: { placement: { require: ['gpu', '=='] } },
      fields: ['placement.require[1]'],
    },
    {
      name: 'a strategy of the future',
      spec: { placement: { strategy: 99 as never } },
      fields: ['placement.strategy'],
    },
    { name: 'a grace of a day', spec: { stopGraceMs: 86_400_000 }, fields: ['stop.grace'] },
    {
      name: 'a wait of a day',
      spec: { update: { readyAfterMs: 86_400_000 } },
      fields: ['update.readyAfter'],
    },
    { name: 'a runtime that is no name', spec: { runtime: '-rm' }, fields: ['runtime'] },
    { name: 'a relative directory', spec: { workingDir: 'etc' }, fields: ['workingDir'] },
    {
      name: 'everything at once',
      spec: { image: '', replicas: 2000, user: 'a b', resources: { memoryMib: 1 } },
      fields: ['image', 'replicas', 'resources.memory', 'user'],
    },
  ])('judges $name', ({ spec, fields }) => {
    expect(faultsOf([document(spec)])).toEqual(fields);
  });

  it('names the document where there are several', () => {
    expect(faultsOf([document({}, 'a'), document({ replicas: 2000 }, 'b')])).toEqual([
      'documents[1].replicas',
    ]);
  });

  it('refuses none, too many, and a name twice', () => {
    expect(faultsOf([])).toEqual(['documents']);
    expect(faultsOf(Array.from({ length: 31 }, (_, place) => document({}, `w${place}`)))).toEqual([
      'documents',
    ]);
    expect(faultsOf([document({}), document({})])).toEqual(['documents[1].name']);
  });

  it('misses the name and the spec', () => {
    expect(faultsOf([WorkloadDocument.fromPartial({})])).toEqual(['name', 'image']);
  });
});

describe('formatWorkloadSpec', () => {
  it('is read back as it was', () => {
    const spec = parseWorkloadSpec(
      WorkloadSpec.fromPartial({
        image,
        replicas: 0,
        env: { MODE: 'production' },
        placement: { require: ['zone in (a, b)'], strategy: 2 },
        restart: { policy: 2, maxAttempts: 5 },
        stopGraceMs: 0,
      }),
    );
    expect(
      parseWorkloadSpec(WorkloadSpec.decode(WorkloadSpec.encode(formatWorkloadSpec(spec)).finish())),
    ).toEqual(spec);
  });
});
