import { describe, expect, it } from 'vitest';
import type { RoutingRule } from '#shared/model.ts';
import { checkRouting } from './check-routing.ts';

const rule = (name: string, changes: Partial<RoutingRule> = {}): RoutingRule => ({
  name,
  workload: undefined,
  labels: {},
  image: undefined,
  runtime: 'lxc',
  ...changes,
});
const offered = new Set(['crun', 'lxc']);
const glob = (text: string) => ({ kind: 'glob', text }) as const;
const regex = (text: string) => ({ kind: 'regex', text }) as const;

describe('rules as a whole', () => {
  it.each<[string, RoutingRule[], { faults?: RegExp[]; warnings?: RegExp[] }]>([
    ['nothing to say of none', [], {}],
    ['nothing to say of one', [rule('a', { image: glob('lxc:*') })], {}],
    [
      'names a runtime that there is not',
      [rule('a', { runtime: 'docker' })],
      { faults: [/^rules\[0\]\.runtime there is no runtime "docker"/] },
    ],
    [
      'names the twin',
      [rule('a', { image: glob('x') }), rule('a')],
      { faults: [/^rules\[1\]\.name "a" is there twice/] },
    ],
    [
      'names a pattern that cannot be read',
      [rule('a', { labels: { tier: regex('(') } })],
      { faults: [/^rules\[0\]\.labels\.tier is not a regular expression/] },
    ],
    [
      'names what is never reached',
      [rule('all'), rule('late', { image: glob('lxc:*') })],
      { faults: [/^rules\[1\] "late" is never reached: "all"/] },
    ],
    [
      'lets a rule for a label stand before one without',
      [rule('labelled', { labels: { tier: glob('*') } }), rule('all', { runtime: 'crun' })],
      { warnings: [/"labelled" and "all" overlap: "labelled" decides, and gives lxc/] },
    ],
    [
      'says nothing of an overlap that decides the same',
      [rule('a', { image: glob('a*') }), rule('b', { workload: glob('b*') })],
      {},
    ],
    [
      'tells that regular expressions may overlap',
      [rule('a', { image: regex('a.') }), rule('b', { image: glob('*b'), runtime: 'crun' })],
      { warnings: [/"a" and "b" may overlap/] },
    ],
    [
      'tells of a runtime that no node has now',
      [rule('vm', { image: glob('vm*'), runtime: 'proxmox-vm' })],
      { warnings: [/no node offers proxmox-vm now/] },
    ],
  ])('%s', (_name, rules, { faults = [], warnings = [] }) => {
    const report = checkRouting({ rules, defaultRuntime: 'crun' }, offered);
    const found = report.faults.map(({ field, message }) => `${field} ${message}`);
    expect(found).toEqual(faults.map((each) => expect.stringMatching(each)));
    expect(report.warnings).toEqual(warnings.map((each) => expect.stringMatching(each)));
  });
});
