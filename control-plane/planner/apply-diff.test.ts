import { describe, expect, it } from 'vitest';
import type { Instance, InstanceId, Node, NodeFacts, NodeName, Volume, Workload } from '#shared/model.ts';
import { fakeFacts } from '../../test/fakes/node.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import type { LiveNode } from '../fleet-view.ts';
import { createMemoryJournal } from '../store/memory.ts';
import { openStore } from '../store/open-store.ts';
import { systemClock } from '#shared/clock.ts';
import { planApply } from './apply-diff.ts';

const nowMs = 1_000_000;

const factsOf = (name: string, runtimes: readonly string[]): NodeFacts =>
  fakeFacts(name, {
    memoryMib: 1024,
    cpuCount: 4,
    diskMib: 10_000,
    runtimes: runtimes.map((runtime) => ({
      name: runtime,
      version: '1',
      healthy: true,
      detail: '',
      capabilities: ['mounts'],
    })),
  });

const nodeRecord = (name: string, runtimes: readonly string[]): Node => ({
  metadata: { ...workloadRecord().metadata, name, id: `node-${name}` },
  cordoned: false,
  facts: factsOf(name, runtimes),
  incarnation: '',
  bootId: '',
  certificateSerial: '',
});

const liveNode = (name: string, runtimes: readonly string[]): LiveNode => ({
  name: name as NodeName,
  connected: true,
  listed: true,
  facts: factsOf(name, runtimes),
  capacity: undefined,
  conditions: [],
  lastSeenAtMs: nowMs,
  images: new Set(),
  clockSkewMs: 0,
});

async function planOn(
  records: {
    readonly workloads?: readonly Workload[];
    readonly instances?: readonly Instance[];
    readonly volumes?: readonly Volume[];
  },
  spec: Workload['spec'],
  names: readonly string[] = ['h1', 'h2'],
  runtimes: readonly string[] = ['crun'],
) {
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  await store.transact((tx) => {
    for (const name of names) tx.put('node', `node-${name}`, nodeRecord(name, runtimes));
    for (const one of records.volumes ?? []) tx.put('volume', one.metadata.id, one);
    for (const one of records.workloads ?? []) tx.put('workload', one.metadata.id, one);
  });
  for (const one of records.instances ?? [])
    await store.transact((tx) => tx.put('instance', one.metadata.id, one));
  const snapshot = store.snapshot();
  const live = new Map(names.map((name) => [name as NodeName, liveNode(name, runtimes)]));
  const { labels, annotations } = { labels: {}, annotations: {} };
  const document = { project: 'default', name: 'web', labels, annotations, expectedRevision: 0, spec };
  const plan = planApply({ networks: [], workloads: [document] }, { snapshot, live, nowMs });
  const written = store.snapshot().revision !== snapshot.revision;
  await store.close();
  const [workload] = plan.workloads;
  if (workload === undefined) throw new Error('no plan');
  const steps = workload.steps.map(({ kind, instance, node }) => `${kind} ${instance} ${node}`.trim());
  return { plan, workload, steps, written, revision: snapshot.revision };
}

describe('planApply', () => {
  it('plans a new workload, and writes nothing', async () => {
    const { plan, workload, steps, written, revision } = await planOn(
      {},
      workloadRecord({ replicas: 2 }).spec,
    );
    expect(workload.change).toBe('create');
    expect(steps).toEqual([
      'resolve-image',
      'place web-+1 h1',
      'ensure web-+1 h1',
      'place web-+2 h2',
      'ensure web-+2 h2',
    ]);
    expect(workload.placements.map(({ node, verdicts }) => [node, verdicts.length])).toEqual([
      ['h1', 2],
      ['h2', 2],
    ]);
    expect(workload.fields).toContainEqual({ field: 'replicas', before: '', after: '2' });
    expect(plan.revision).toBe(revision);
    expect(written).toBe(false);
  });

  it('plans nothing for what is there already', async () => {
    const web = workloadRecord();
    const { workload } = await planOn({ workloads: [web] }, web.spec);
    expect(workload).toMatchObject({ change: 'none', fields: [], steps: [] });
  });

  it('replaces copies one at a time', async () => {
    const web = workloadRecord({ replicas: 2 });
    const instances = [instanceRecord(web, 1), instanceRecord(web, 2)];
    const { workload, steps } = await planOn(
      { workloads: [web], instances },
      { ...web.spec, env: { MODE: 'yes: please' } },
    );
    expect(workload.fields).toEqual([{ field: 'env.MODE', before: '', after: '"yes: please"' }]);
    expect(steps.map((step) => step.replace(/ h\d$/, ''))).toEqual([
      'resolve-image',
      'place web-+1',
      'ensure web-+1',
      'remove web-00001',
      'place web-+2',
      'ensure web-+2',
      'remove web-00002',
    ]);
  });

  it('expects another tag to be another image', async () => {
    const web = workloadRecord({ replicas: 1 });
    const { steps } = await planOn(
      { workloads: [web], instances: [instanceRecord(web, 1)] },
      { ...web.spec, image: 'registry.example/web:2' },
    );
    expect(steps).toEqual(['resolve-image', 'place web-+1 h2', 'ensure web-+1 h2', 'remove web-00001 h1']);
  });

  it('scales down without asking for the image again', async () => {
    const web = workloadRecord({ replicas: 2 });
    const instances = [instanceRecord(web, 1), instanceRecord(web, 2)];
    const { workload, steps } = await planOn({ workloads: [web], instances }, { ...web.spec, replicas: 1 });
    expect(workload.fields).toEqual([{ field: 'replicas', before: '2', after: '1' }]);
    expect(steps).toEqual(['remove web-00002 h1']);
  });

  it('says what fits nowhere, and why', async () => {
    const resources = { cpuMillicores: 0, memoryMib: 800, diskMib: 0, pids: 64 };
    const { workload, steps } = await planOn({}, workloadRecord({ replicas: 3, resources }).spec);
    expect(steps.at(-1)).toBe('place web-+3');
    const last = workload.placements.at(-1);
    expect(last).toMatchObject({ instance: 'web-+3', node: '' });
    expect(last?.verdicts.map(({ fits }) => fits)).toEqual([false, false]);
    expect(last?.summary).toMatch(/0 of 2 nodes fit/);
  });

  const limits = (memoryMib: number) => ({ cpuMillicores: 100, memoryMib, diskMib: 0, pids: 64 });

  it('sets limits while copies run, one at a time, and asks for no image', async () => {
    const web = workloadRecord({ replicas: 2 });
    const instances = [instanceRecord(web, 1), instanceRecord(web, 2)];
    const { workload } = await planOn(
      { workloads: [web], instances },
      { ...web.spec, resources: limits(128) },
    );
    expect(workload.steps).toEqual(
      ['web-00001', 'web-00002'].map((instance) => ({
        kind: 'update',
        instance,
        node: 'h1',
        detail: 'limits set while it runs',
      })),
    );
  });

  it('replaces what its node cannot let grow, and has no more than one copy in excess', async () => {
    const web = workloadRecord({ replicas: 2, resources: limits(500) });
    const instances = [instanceRecord(web, 1), instanceRecord(web, 2)];
    const { steps } = await planOn({ workloads: [web], instances }, { ...web.spec, resources: limits(700) });
    expect(steps).toEqual([
      'place web-+1 h2',
      'ensure web-+1 h2',
      'remove web-00001 h1',
      'update web-00002 h1',
    ]);
  });

  const system = (spec: Partial<Workload['spec']>): Workload => {
    const made = workloadRecord({ replicas: 1, runtime: 'lxc', ...spec });
    return { ...made, resolved: made.resolved && { ...made.resolved, runtime: 'lxc' } };
  };

  it('makes a container anew on its own root, and keeps its image where the tag may have moved', async () => {
    const web = system({});
    const { workload } = await planOn(
      { workloads: [web], instances: [instanceRecord(web, 1)] },
      { ...web.spec, env: { MODE: 'a' } },
      ['h1', 'h2'],
      ['lxc'],
    );
    expect(workload.steps).toEqual([
      {
        kind: 'update',
        instance: 'web-00001',
        node: 'h1',
        detail: 'made anew on the same root, after a snapshot',
      },
    ]);
  });

  it('says what keeps a container as it is', async () => {
    const web = system({ resources: limits(600) });
    const { workload } = await planOn(
      { workloads: [web], instances: [instanceRecord(web, 1)] },
      { ...web.spec, resources: limits(1200) },
      ['h1', 'h2'],
      ['lxc'],
    );
    expect(workload.steps.map(({ detail }) => detail)).toEqual([
      'stays as it is: h1 has no room for what it grows by: it needs 600 MiB of memory, 424 MiB free',
    ]);
  });

  it('refuses an update that asks for what the runtime of its node cannot do', async () => {
    const web = system({});
    const { workload } = await planOn(
      { workloads: [web], instances: [instanceRecord(web, 1)] },
      { ...web.spec, security: { ...web.spec.security, nesting: true } },
      ['h1'],
      ['lxc'],
    );
    expect(workload.steps.map(({ detail }) => detail)).toEqual([
      'stays as it is: h1 cannot keep it so: its lxc cannot do nesting',
    ]);
  });

  const claim = { name: 'data', mountPath: '/data', sizeMib: 100, pool: '', readOnly: false, keep: true };
  const volume = (node: string, instanceId: string): Volume => ({
    metadata: { ...workloadRecord().metadata, name: 'web-data-0', id: 'volume-1' },
    workload: 'web',
    claim: 'data',
    slot: 0,
    node: node as NodeName,
    instanceId: instanceId as InstanceId,
    sizeMib: 100,
    pool: '',
    keep: true,
    removingSinceMs: undefined,
  });
  const holding = (web: Workload): Instance => {
    const made = instanceRecord(web, 1);
    const volumes = [{ name: 'data', volumeId: 'volume-1' as InstanceId }];
    return { ...made, spec: { ...made.spec, assigned: { ...made.spec.assigned, volumes } } };
  };

  it('replaces a copy with data after it is gone, where its data lies', async () => {
    const web = workloadRecord({ replicas: 1, volumes: [claim] });
    const one = holding(web);
    const { steps } = await planOn(
      { workloads: [web], instances: [one], volumes: [volume('h1', one.metadata.id)] },
      { ...web.spec, env: { MODE: 'a' } },
      ['h1', 'h2'],
      ['crun'],
    );
    expect(steps).toEqual(['resolve-image', 'remove web-00001 h1', 'place web-+1 h1', 'ensure web-+1 h1']);
  });

  it('keeps a copy with data where its replacement would have no place', async () => {
    const web = workloadRecord({ replicas: 1, volumes: [claim] });
    const one = holding(web);
    const { workload } = await planOn(
      { workloads: [web], instances: [one], volumes: [volume('h1', one.metadata.id)] },
      { ...web.spec, env: { MODE: 'a' }, resources: limits(4096) },
      ['h1', 'h2'],
      ['crun'],
    );
    expect(workload.steps.map(({ kind }) => kind)).toEqual(['resolve-image', 'update']);
    expect(workload.steps.at(-1)?.detail).toMatch(/^stays as it is: nothing could take its place: 0 of 1/);
  });

  it('says where the data of a new copy lies, when that node cannot take it', async () => {
    const { workload } = await planOn(
      { volumes: [{ ...volume('h1', ''), instanceId: undefined }] },
      workloadRecord({ replicas: 1, volumes: [claim], resources: limits(4096) }).spec,
      ['h1', 'h2'],
      ['crun'],
    );
    const [h1, h2] = workload.placements[0]?.verdicts ?? [];
    expect(h1?.reason).toBe('needs 4 GiB of memory, 1 GiB free');
    expect(h2?.reason).toBe('its volume web-data-0 lies on h1; needs 4 GiB of memory, 1 GiB free');
  });

  it('cuts the plan of very many copies short', async () => {
    const resources = { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 64 };
    const web = workloadRecord({ replicas: 300, resources });
    const instances = Array.from({ length: 300 }, (_, place) => instanceRecord(web, place));
    const { workload } = await planOn({ workloads: [web], instances }, { ...web.spec, user: '7' });
    expect(workload.steps.at(-1)?.detail).toMatch(/^and so on/);
  });
});
