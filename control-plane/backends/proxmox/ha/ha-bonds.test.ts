/** Rules of HA as its manager understands them, by hand; rows as `cluster/ha` answers them. */
import { describe, expect, it } from 'vitest';
import type { NodeName } from '#shared/model.ts';
import { bondsOf, type HaScene } from './ha-bonds.ts';
import { rulesFromGroups, rulesFromRules } from './ha-rules.ts';

type Rows = readonly Record<string, unknown>[];

const places: Readonly<Record<string, string>> = { 'ct:100': 'pve1', 'ct:101': 'pve2', 'vm:102': 'pve1' };
const scene = (change: Partial<HaScene> = {}): HaScene => ({
  here: 'pve1',
  nameOf: (node) => `lab-${node}` as NodeName,
  counts: () => true,
  find: (sid) => {
    const node = places[sid];
    return node === undefined ? undefined : { node, called: `guest-${sid.slice(3)}` };
  },
  ...change,
});
const resource = (sid: string, fields: Record<string, unknown> = {}) => ({
  sid,
  state: 'started',
  ...fields,
});
const all: Rows = [resource('ct:100'), resource('ct:101'), resource('vm:102')];
const nodeRule = (fields: Record<string, unknown> = {}) => ({
  rule: 'near',
  type: 'node-affinity',
  resources: 'ct:100',
  nodes: 'pve1,pve2',
  ...fields,
});
const affinity = (kind: string, resources: string, fields: Record<string, unknown> = {}) => ({
  rule: kind === 'positive' ? 'pair' : 'far',
  type: 'resource-affinity',
  affinity: kind,
  resources,
  ...fields,
});
const told = (bonds: ReturnType<typeof bondsOf>): string[] =>
  bonds.map(({ kind, nodes, because }) => `${kind} ${nodes.join('+')}: ${because}`);

describe('rules of HA from 9 on', () => {
  const rows: readonly {
    title: string;
    rules: Rows;
    resources?: Rows;
    scene?: Partial<HaScene>;
    bonds: string[];
  }[] = [
    { title: 'say nothing of what they do not name', rules: [nodeRule({ resources: 'ct:101' })], bonds: [] },
    {
      title: 'keep to nodes strictly',
      rules: [nodeRule({ strict: 1 })],
      bonds: ['only lab-pve1+lab-pve2: HA keeps it to lab-pve1, lab-pve2 (rule "near")'],
    },
    { title: 'count when they are on', rules: [nodeRule({ strict: 1, disable: 1 })], bonds: [] },
    { title: 'count when they contradict no other', rules: [nodeRule({ strict: 1, errors: {} })], bonds: [] },
    {
      title: 'take back to the nodes that are preferred',
      rules: [nodeRule()],
      bonds: ['only lab-pve1+lab-pve2: HA would bring it back to lab-pve1, lab-pve2 (rule "near")'],
    },
    {
      title: 'take back to those of the highest priority',
      rules: [nodeRule({ nodes: 'pve1,pve2:7,pve3:7' })],
      bonds: ['only lab-pve2+lab-pve3: HA would bring it back to lab-pve2, lab-pve3 (rule "near")'],
    },
    {
      title: 'take back among strict ones',
      rules: [nodeRule({ nodes: 'pve1:2,pve2:1', strict: 1 })],
      bonds: [
        'only lab-pve1+lab-pve2: HA keeps it to lab-pve1, lab-pve2 (rule "near")',
        'never lab-pve2: HA would bring it back to lab-pve1 (rule "near")',
      ],
    },
    {
      title: 'take back to no node that is in maintenance',
      rules: [nodeRule({ nodes: 'pve1:2,pve2:1' })],
      scene: { counts: (node) => node !== 'pve1' },
      bonds: ['only lab-pve2: HA would bring it back to lab-pve2 (rule "near")'],
    },
    {
      title: 'take back nothing while none of the nodes is there',
      rules: [nodeRule()],
      scene: { counts: () => false },
      bonds: [],
    },
    {
      title: 'take back nothing that is to stay where it was brought',
      rules: [nodeRule({ nodes: 'pve1:2,pve2:1', strict: 1 })],
      resources: [resource('ct:100', { failback: 0 })],
      bonds: ['only lab-pve1+lab-pve2: HA keeps it to lab-pve1, lab-pve2 (rule "near")'],
    },
    {
      title: 'take back nothing that is to be stopped',
      rules: [nodeRule()],
      resources: [resource('ct:100', { state: 'stopped' })],
      bonds: [],
    },
    {
      title: 'keep apart',
      rules: [affinity('negative', 'ct:100,ct:101')],
      bonds: ['never lab-pve2: HA keeps it apart from guest-101 on lab-pve2 (rule "far")'],
    },
    {
      title: 'keep nothing apart from what HA leaves alone, or what is not there',
      rules: [affinity('negative', 'ct:100,ct:101,ct:999')],
      resources: [resource('ct:100'), resource('ct:101', { state: 'ignored' }), resource('ct:999')],
      bonds: [],
    },
    {
      title: 'move along what is to be with it',
      rules: [affinity('positive', 'ct:100,vm:102')],
      bonds: ['along : HA moves guest-102 along (rule "pair")'],
    },
    {
      title: 'keep together with what is elsewhere already',
      rules: [affinity('positive', 'ct:100,ct:101,vm:102')],
      bonds: ['only lab-pve2: HA keeps it together with guest-101 on lab-pve2 (rule "pair")'],
    },
    {
      title: 'keep a pair apart from what one of them is apart from',
      rules: [affinity('positive', 'ct:100,vm:102'), affinity('negative', 'vm:102,ct:101')],
      bonds: [
        'along : HA moves guest-102 along (rule "pair")',
        'never lab-pve2: HA keeps it apart from guest-101 on lab-pve2 (rule "far")',
      ],
    },
    {
      title: 'keep a pair where one of them is kept',
      rules: [affinity('positive', 'ct:100,vm:102'), nodeRule({ resources: 'vm:102', strict: 1 })],
      bonds: [
        'only lab-pve1+lab-pve2: HA keeps it to lab-pve1, lab-pve2 (rule "near")',
        'along : HA moves guest-102 along (rule "pair")',
      ],
    },
    {
      title: 'are one where they share a guest',
      rules: [
        affinity('positive', 'ct:100,vm:102'),
        affinity('positive', 'vm:102,ct:101', { rule: 'other' }),
      ],
      bonds: ['only lab-pve2: HA keeps it together with guest-101 on lab-pve2 (rule "other")'],
    },
  ];
  it.each(rows)('$title', ({ rules, resources = all, scene: change, bonds }) => {
    expect(told(bondsOf(rulesFromRules(resources, rules), 'ct:100', scene(change)))).toEqual(bonds);
  });
});

describe('groups of HA before 9', () => {
  const group = (fields: Record<string, unknown> = {}) => ({
    group: 'near',
    nodes: 'pve1:2,pve2',
    ...fields,
  });
  const inGroup: Rows = [resource('ct:100', { group: 'near' }), resource('ct:101')];
  it.each([
    {
      title: 'keep to nodes where they are restricted',
      groups: [group({ restricted: 1, nofailback: 1 })],
      bonds: ['only lab-pve1+lab-pve2: HA keeps it to lab-pve1, lab-pve2 (group "near")'],
    },
    {
      title: 'take back to the highest priority',
      groups: [group({ restricted: 1 })],
      bonds: [
        'only lab-pve1+lab-pve2: HA keeps it to lab-pve1, lab-pve2 (group "near")',
        'never lab-pve2: HA would bring it back to lab-pve1 (group "near")',
      ],
    },
    {
      title: 'take back where they are not restricted',
      groups: [group()],
      bonds: ['only lab-pve1: HA would bring it back to lab-pve1 (group "near")'],
    },
    { title: 'say nothing where they only prefer', groups: [group({ nofailback: 1 })], bonds: [] },
    { title: 'say nothing of others', groups: [group({ group: 'far', restricted: 1 })], bonds: [] },
  ])('$title', ({ groups, bonds }) => {
    expect(told(bondsOf(rulesFromGroups(inGroup, groups), 'ct:100', scene()))).toEqual(bonds);
  });
});
