import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApplyRequest } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { systemRandom } from '#shared/random.ts';
import { type ApiWorld, startApiWorld } from '../../../test/api-world.ts';
import { until } from '../../../test/until.ts';
import { fleetService } from '../fleet-service.ts';

let world: ApiWorld;
let service: ReturnType<typeof fleetService>;

const runtime = (name: string, version: string) => ({
  name,
  version,
  healthy: true,
  detail: '',
  capabilities: ['network-none'],
});

beforeEach(async () => {
  world = await startApiWorld({
    facts: { runtimes: [runtime('lxc', '6.0'), runtime('proxmox-lxc', '9.2.11')] },
  });
  service = fleetService(world.deps);
  const spec = { image: 'lxc:images/debian/12', runtime: 'lxc', command: ['/sbin/start'], replicas: 1 };
  const documents = [{ metadata: { name: 'mail' }, spec }];
  const request = ApplyRequest.fromPartial({ documents, requestId: systemRandom.uuidV4() });
  await service.apply(request, world.contextOf('Apply'));
});

afterEach(() => world.close());

const explain = (workload: string, to: string) =>
  service.explainPortability({ project: '', workload, runtime: to }, world.contextOf('ExplainPortability'));

describe('what would become of a workload under another runtime', () => {
  it('is told from what is stored, and changes nothing', async () => {
    const { store, view } = world.deps;
    const copy = () => store.snapshot().instancesOfWorkload('mail')[0];
    await until(() => typeof copy()?.observed === 'object' && view.nodes().size === 2, { what: 'a copy' });
    const before = store.snapshot().revision;
    const { from, to, findings, steps } = await explain('mail', 'proxmox-lxc');
    expect({ from, to }).toEqual({ from: 'lxc', to: 'proxmox-lxc' });
    const found = (subject: string) => findings.find((each) => each.subject === subject);
    expect(found('host name')).toMatchObject({ outcome: 'carries over', before: copy()?.metadata.name });
    expect(found('nodes')).toMatchObject({ outcome: 'changes', before: copy()?.node, after: 'h2, h1' });
    // Its nodes are of 9.2.
    expect(found('command and environment')).toMatchObject({ outcome: 'carries over', after: '/sbin/start' });
    expect(steps[0]).toMatchObject({ name: 'stop' });
    expect(store.snapshot().revision).toBe(before);
  });

  it.each([
    ['a workload that there is not', 'mial', 'proxmox-lxc', 'not-found'],
    ['no runtime', 'mail', '', 'invalid-argument'],
    ['a runtime that is no name', 'mail', '../x', 'invalid-argument'],
    ['a runtime that there is not', 'mail', 'docker', 'invalid-argument'],
    ['two runtimes between which nothing moves', 'mail', 'proxmox-vm', 'unimplemented'],
  ])('refuses %s', async (_title, workload, to, kind) => {
    await expect(explain(workload, to)).rejects.toMatchObject({ kind });
  });
});
