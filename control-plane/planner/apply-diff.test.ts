import { describe, expect, it } from 'vitest';
import type { Instance, Node, NodeName, Workload } from '#shared/model.ts';
import { fakeFacts } from '../../test/fakes/node.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import type { LiveNode } from '../fleet-view.ts';
import { createMemoryJournal } from '../store/memory.ts';
import { openStore } from '../store/open-store.ts';
import { systemClock } from '#shared/clock.ts';
import { planApply } from './apply-diff.ts';

const nowMs = 1_000_000;

const nodeRecord = (name: string): Node => ({
  metadata: { ...workloadRecord().metadata, name, id: `node-${name}` },
  cordoned: false,
  facts: fakeFacts(name, { memoryMib: 1024, cpuCount: 4, diskMib: 10_000 }),
  incarnation: '',
  bootId: '',
  certificateSerial: '',
});

const liveNode = (name: string): LiveNode => ({
  name: name as NodeName,
  connected: true,
  listed: true,
  facts: fakeFacts(name, { memoryMib: 1024, cpuCount: 4, diskMib: 10_000 }),
  capacity: undefined,
  conditions: [],
  lastSeenAtMs: nowMs,
  images: new Set(),
  clockSkewMs: 0,
});

async function planOn(
  records: { readonly workloads?: readonly Workload[]; readonly instances?: readonly Instance[] },
  spec: Workload['spec'],
  names: readonly string[] = ['h1', 'h2'],
) {
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  await store.transact((tx) => {
    for (const name of names) tx.put('node', `node-${name}`, nodeRecord(name));
    for (const one of records.workloads ?? []) tx.put('workload', one.metadata.id, one);
  });
  for (const one of records.instances ?? [])
    await store.transact((tx) => tx.put('instance', one.metadata.id, one));
  const snapshot = store.snapshot();
  const live = new Map(names.map((name) => [name as NodeName, liveNode(name)]));
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

  it('cuts the plan of very many copies short', async () => {
    const resources = { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 64 };
    const web = workloadRecord({ replicas: 300, resources });
    const instances = Array.from({ length: 300 }, (_, place) => instanceRecord(web, place));
    const { workload } = await planOn({ workloads: [web], instances }, { ...web.spec, user: '7' });
    expect(workload.steps.at(-1)?.detail).toMatch(/^and so on/);
  });
});
