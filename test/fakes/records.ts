import type { Digest, Instance, InstanceId, InstanceState, NodeName, Workload } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';

const digest = `sha256:${'a'.repeat(64)}` as Digest;

/** A workload "web" whose present generation is resolved, but for what a test changes. */
export function workloadRecord(
  spec: Partial<Workload['spec']> = {},
  {
    metadata,
    ...rest
  }: Partial<Omit<Workload, 'metadata'>> & { metadata?: Partial<Workload['metadata']> } = {},
): Workload {
  const head = {
    project: 'default',
    name: 'web',
    id: 'workload-1',
    labels: {},
    annotations: {},
    revision: 1,
    generation: 1,
    createdAtMs: 0,
    ...metadata,
  };
  const { generation } = head;
  return {
    metadata: head,
    spec: {
      image: 'registry.example/web:1',
      runtime: 'crun',
      replicas: 3,
      command: [],
      env: {},
      resources: { cpuMillicores: 100, memoryMib: 64, diskMib: 0, pids: 64 },
      network: 'none',
      restart: { policy: 'always', maxAttempts: 0 },
      placement: { require: [], strategy: 'spread' },
      update: { readyAfterMs: 1000 },
      stopGraceMs: 1000,
      user: '',
      workingDir: '',
      imageCredential: '',
      ...plainGuestConfig,
      ...spec,
    },
    resolved: {
      generation,
      image: `registry.example/web@${digest}`,
      digest,
      runtime: 'crun',
      runtimeBecause: 'named in the spec',
      reference: spec.image ?? 'registry.example/web:1',
    },
    deletingSinceMs: undefined,
    resolveMessage: '',
    ...rest,
  };
}

/** A copy of the workload as it is, running on h1 since time began, but for what a test changes. */
export function instanceRecord(workload: Workload, place: number, changes: Partial<Instance> = {}): Instance {
  const tail = String(place).padStart(12, '0');
  const id = `00000000-0000-7000-8000-${tail}`;
  const name = `${workload.metadata.name}-${String(place).padStart(5, '0')}`;
  const { replicas: _r, placement, update: _u, ...spec } = workload.spec;
  return {
    metadata: { ...workload.metadata, name, id, generation: 1 },
    workload: workload.metadata.name,
    workloadGeneration: workload.metadata.generation,
    intent: 'run',
    spec: {
      ...spec,
      volumes: spec.volumes.map((claim) => ({ ...claim, keep: true })),
      image: workload.resolved?.image ?? spec.image,
      workload: workload.metadata.name,
      displayName: name,
      assigned: emptyAssignment,
    },
    placement,
    node: 'h1' as NodeName,
    boundAtMs: 1,
    placedBecause: '1 of 1 nodes fit, h1 best.',
    observed: stateRecord({ instanceId: id as InstanceId, displayName: name }),
    ...changes,
  };
}

export const stateRecord = (changes: Partial<InstanceState> = {}): InstanceState => ({
  instanceId: '00000000-0000-7000-8000-000000000000' as InstanceId,
  generation: 1,
  phase: 'running',
  pid: 7,
  startedAtMs: 1,
  exit: undefined,
  restarts: 0,
  nextStartAtMs: 0,
  message: '',
  limits: undefined,
  notEnforced: [],
  displayName: 'web-00000',
  addresses: [],
  rootPool: '',
  ...changes,
});
