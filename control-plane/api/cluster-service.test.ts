import { randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { NodeName, Volume } from '#shared/model.ts';
import { newMetadata } from '../store/new-metadata.ts';
import { startClusterWorld } from '../../test/cluster-world.ts';
import { allRights, missingRight } from '../../test/fakes/cluster-backend.ts';
import { clusterSpec } from '../../test/fakes/cluster-records.ts';
import { until } from '../../test/until.ts';
import { DroverError } from '#shared/errors.ts';
import {
  AddClusterRequest,
  GetClusterResponse,
  UpdateClusterRequest,
} from '#shared/gen/drover/fleet/v1/cluster.ts';

const secret = '5ec2e700-0000-4000-8000-0000000000fe';
const fingerprint = Array.from({ length: 32 }, () => 'cd').join('');
const shown = Array.from({ length: 32 }, () => 'CD').join(':');
const asked = (changes: Partial<AddClusterRequest> = {}): AddClusterRequest =>
  AddClusterRequest.fromPartial({
    name: 'town',
    endpoints: ['10.1.0.1', 'PVE.example:443'],
    trust: { fingerprints: [fingerprint] },
    credential: { tokenId: 'drover@pve!fleet', tokenSecret: secret },
    ...changes,
  } as AddClusterRequest);

describe('adding a cluster', () => {
  it('tries it, keeps it, and tells everything but the secret', async () => {
    await using world = await startClusterWorld();
    const { service, context, clusters, store } = world;
    const { cluster } = await service.addCluster(asked(), context);
    expect(cluster).toMatchObject({
      metadata: { name: 'town' },
      endpoints: ['10.1.0.1:8006', 'pve.example:443'],
      trust: 'fingerprints',
      fingerprints: [shown],
      identity: 'drover@pve!fleet',
      status: { version: '8.4.21', connected: true },
    });
    expect(clusters.tried.at(-1)?.credential).toMatchObject({ secret });
    expect(store.snapshot().named('cluster', 'town')?.spec.credential).toMatchObject({ secret });
    const told = JSON.stringify([
      GetClusterResponse.toJSON(await service.getCluster({ name: 'town' }, context)),
      store.snapshot().list('event'),
    ]);
    expect(told).toContain('town');
    expect(told).not.toContain(secret);
    const all = await Array.fromAsync(service.listClusters({}, context));
    expect(all.map((one) => one.metadata?.name)).toEqual(['lab', 'town']);
  });

  it('keeps nothing of one that does not answer, and passes on why', async () => {
    await using world = await startClusterWorld();
    const { service, context, clusters, store } = world;
    clusters.failNext('test', new DroverError('unauthenticated', 'the cluster does not take the token'));
    await expect(service.addCluster(asked(), context)).rejects.toMatchObject({ kind: 'unauthenticated' });
    clusters.found = { connected: false, message: 'no endpoint answers' };
    await expect(service.addCluster(asked(), context)).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('no endpoint answers') as string,
    });
    expect(store.snapshot().named('cluster', 'town')).toBeUndefined();
  });

  it('names the rights that are missing and what will not work, and goes on without when told to', async () => {
    await using world = await startClusterWorld();
    const { service, context, clusters } = world;
    clusters.found = { rights: [...allRights, missingRight] };
    await expect(service.addCluster(asked(), context)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'rights-missing',
      message: expect.stringContaining('VM.Migrate on /vms, for what VM.Migrate is for') as string,
      nextStep: expect.stringContaining('--accept-missing-rights') as string,
      faults: [{ field: '/vms VM.Migrate', message: 'what VM.Migrate is for' }],
    });
    clusters.found = { rights: allRights.map((right) => ({ ...right, granted: false })) };
    await expect(service.addCluster(asked({ acceptMissingRights: true }), context)).rejects.toMatchObject({
      reason: 'rights-missing',
      message: expect.stringMatching(/may do nothing/) as string,
    });
    clusters.found = { rights: [...allRights, missingRight] };
    const { cluster } = await service.addCluster(asked({ acceptMissingRights: true }), context);
    expect(cluster?.status?.rights.filter(({ granted }) => !granted)).toHaveLength(1);
  });

  it('refuses a name that is taken before it tries anything', async () => {
    await using world = await startClusterWorld();
    const { service, context, clusters } = world;
    await expect(service.addCluster(asked({ name: 'lab' }), context)).rejects.toMatchObject({
      kind: 'already-exists',
    });
    expect(clusters.tried).toEqual([]);
  });

  it.each([
    ['no address', { endpoints: [] }, 'endpoints'],
    ['an address that is none', { endpoints: ['https://10.0.0.1:8006/'] }, 'endpoints[0]'],
    ['no trust', { trust: undefined }, 'trust'],
    ['two kinds of trust', { trust: { authorityPem: 'x', fingerprints: [fingerprint] } }, 'trust'],
    [
      'a fingerprint that is none',
      { trust: { authorityPem: '', fingerprints: ['ab:cd'] } },
      'trust.fingerprints[0]',
    ],
    [
      'an authority that is none',
      { trust: { authorityPem: 'hello', fingerprints: [] } },
      'trust.authorityPem',
    ],
    ['no credential', { credential: undefined }, 'credential'],
    [
      'a secret in the place of the id',
      { credential: { tokenId: `drover@pve!fleet=${secret}`, tokenSecret: secret, user: '', password: '' } },
      'credential.tokenId',
    ],
    [
      'a secret that is none',
      { credential: { tokenId: 'drover@pve!fleet', tokenSecret: `${secret}\n`, user: '', password: '' } },
      'credential.tokenSecret',
    ],
    [
      'a user without a realm',
      { credential: { tokenId: '', tokenSecret: '', user: 'root', password: secret } },
      'credential.user',
    ],
    ['a name that is too long', { name: 'x'.repeat(21) }, 'name'],
  ] as [string, Partial<AddClusterRequest>, string][])(
    'refuses %s, and shows no secret',
    async (_title, changes, field) => {
      await using world = await startClusterWorld();
      const { service, context, clusters } = world;
      const refused: unknown = await service
        .addCluster(asked(changes), context)
        .catch((error: unknown) => error);
      expect(refused).toMatchObject({ kind: 'invalid-argument', faults: [{ field }] });
      expect(JSON.stringify(refused) + String(refused)).not.toContain(secret);
      expect(clusters.tried).toEqual([]);
    },
  );
});

describe('changing a cluster', () => {
  const change = (changes: Partial<UpdateClusterRequest>): UpdateClusterRequest =>
    UpdateClusterRequest.fromPartial({ name: 'lab', ...changes } as UpdateClusterRequest);

  it('takes a new token in once it was tried, and leaves the rest', async () => {
    await using world = await startClusterWorld();
    const { service, context, store } = world;
    const credential = { tokenId: 'drover@pve!second', tokenSecret: secret, user: '', password: '' };
    await service.updateCluster(change({ credential }), context);
    const spec = store.snapshot().named('cluster', 'lab')?.spec;
    expect(spec).toEqual({
      ...clusterSpec,
      credential: { kind: 'token', tokenId: 'drover@pve!second', secret },
    });
    const events = JSON.stringify(store.snapshot().list('event'));
    expect(events).toContain('its credential, by admin/root');
    expect(events).not.toContain(secret);
  });

  it('takes new fingerprints in, and keeps the old ones where the new ones do not hold', async () => {
    await using world = await startClusterWorld();
    const { service, context, store, clusters } = world;
    const trust = { authorityPem: '', fingerprints: [fingerprint] };
    clusters.failNext(
      'test',
      new DroverError('failed-precondition', 'another certificate', { reason: 'certificate-changed' }),
    );
    await expect(service.updateCluster(change({ trust }), context)).rejects.toMatchObject({
      reason: 'certificate-changed',
    });
    expect(store.snapshot().named('cluster', 'lab')?.spec).toEqual(clusterSpec);
    await service.updateCluster(change({ trust }), context);
    expect(store.snapshot().named('cluster', 'lab')?.spec.trust).toEqual({
      kind: 'fingerprints',
      sha256: [shown],
    });
  });

  it('refuses a change of nothing, of what nobody knows, and one that another has overtaken', async () => {
    await using world = await startClusterWorld();
    const { service, context, clusters } = world;
    await expect(service.updateCluster(change({}), context)).rejects.toMatchObject({
      kind: 'invalid-argument',
    });
    await expect(
      service.updateCluster(change({ name: 'labb', endpoints: ['a'] }), context),
    ).rejects.toMatchObject({ kind: 'not-found', nextStep: 'did you mean "lab"?' });
    clusters.during('test', async () => {
      await service.updateCluster(change({ endpoints: ['10.0.0.9'] }), context);
    });
    await expect(service.updateCluster(change({ endpoints: ['10.0.0.8'] }), context)).rejects.toMatchObject({
      kind: 'aborted',
    });
  });

  it('tries what is kept, and shows what a server shows', async () => {
    await using world = await startClusterWorld();
    const { service, context, clusters } = world;
    const { status } = await service.testCluster({ name: 'lab' }, context);
    expect(status).toMatchObject({ clusterName: 'lab-itself', nodes: ['lab-pve1', 'lab-pve2'] });
    expect(clusters.tried.at(-1)).toEqual(clusterSpec);
    await expect(service.showFingerprint({ endpoint: '10.0.0.1' }, context)).resolves.toMatchObject({
      endpoint: '10.0.0.1:8006',
    });
    await expect(service.showFingerprint({ endpoint: 'nowhere' }, context)).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });
});

describe('guests', () => {
  it('are listed by cluster and number, ours by name', async () => {
    await using world = await startClusterWorld();
    const { service, context, clusters, run } = world;
    clusters.addGuest({ vmid: 300, node: 'lab-pve2' as never, name: 'other', status: 'stopped' });
    const [web] = await run('web');
    clusters.addGuest({ vmid: 200, node: 'lab-pve1' as never, cpuCount: 0.5, tags: ['a;b'] });
    const guests = await Array.fromAsync(service.listGuests({ cluster: '' }, context));
    expect(guests.map(({ vmid }) => vmid)).toEqual([200, 300, 301]);
    expect(guests.map(({ instance }) => instance)).toEqual(['', '', web?.metadata.name]);
    expect(await Array.fromAsync(service.listGuests({ cluster: 'lab' }, context))).toHaveLength(3);
    await expect(Array.fromAsync(service.listGuests({ cluster: 'la' }, context))).rejects.toMatchObject({
      kind: 'not-found',
    });
  });

  it('have a console with an address; instances on plain hosts have none', async () => {
    await using world = await startClusterWorld();
    const { service, context, run } = world;
    const [web] = await run('web');
    const [plain] = await run('plain', 1, 'crun');
    const ticket = await service.getConsoleTicket(
      { project: '', instance: web?.metadata.name ?? '' },
      context,
    );
    expect(ticket).toMatchObject({ kind: 'terminal', url: expect.stringContaining('https://') as string });
    await expect(
      service.getConsoleTicket({ project: '', instance: plain?.metadata.name ?? '' }, context),
    ).rejects.toMatchObject({ kind: 'unimplemented' });
  });
});

describe('removing a cluster', () => {
  const remove = (world: Awaited<ReturnType<typeof startClusterWorld>>, releaseGuests = false) =>
    world.service.removeCluster({ name: 'lab', releaseGuests }, world.context);

  it('takes its nodes and its secret out of the store', async () => {
    await using world = await startClusterWorld();
    const { store } = world;
    await expect(remove(world)).resolves.toEqual({ released: [], nodes: ['lab-pve1', 'lab-pve2'] });
    expect(store.snapshot().list('cluster')).toEqual([]);
    expect(
      store
        .snapshot()
        .list('node')
        .map(({ metadata }) => metadata.name),
    ).toEqual(['h1']);
    await expect(remove(world)).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('is refused while instances are bound to its nodes, and changes nothing then', async () => {
    await using world = await startClusterWorld();
    const { store, run } = world;
    await run('web');
    const { revision } = store.snapshot();
    await expect(remove(world)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'instances-bound',
      nextStep: expect.stringContaining('--release-guests') as string,
    });
    expect(store.snapshot().revision).toBe(revision);
  });

  it('releases its guests first when it is told to, and they run on', async () => {
    await using world = await startClusterWorld();
    const { store, run, clusters, control } = world;
    const copies = await run('web', 2);
    const { released } = await remove(world, true);
    expect(released.toSorted()).toEqual(copies.map(({ metadata }) => metadata.name).toSorted());
    expect(control.workload('web')).toBeUndefined();
    expect(store.snapshot().list('cluster-guest')).toEqual([]);
    expect(clusters.backend.guests('lab').map(({ status, instanceId }) => [status, instanceId])).toEqual([
      ['running', undefined],
      ['running', undefined],
    ]);
    await until(() => control.view.node('lab-pve1' as never)?.connected !== true, {
      what: 'its nodes are gone',
    });
  });

  it('releases none where one has no guest yet, and takes nothing new meanwhile', async () => {
    await using world = await startClusterWorld();
    const { store, run, clusters } = world;
    const [first, second] = await run('web', 2);
    const guest = store.snapshot().get('cluster-guest', second?.metadata.id ?? '');
    if (guest === undefined) throw new Error('there is no guest');
    await store.transact((tx) => tx.put('cluster-guest', guest.instanceId, { ...guest, made: false }));
    await expect(remove(world, true)).rejects.toMatchObject({
      message: `${second?.metadata.name} has no guest yet: there is nothing to release`,
      nextStep: 'drover delete web',
    });
    expect(clusters.backend.guests('lab').map(({ instanceId }) => instanceId)).toContain(first?.metadata.id);
    const cordoned = () =>
      store
        .snapshot()
        .list('node')
        .filter((node) => node.cordoned);
    expect(cordoned()).toEqual([]);
    await store.transact((tx) => tx.put('cluster-guest', guest.instanceId, guest));
    clusters.failNext('release', new DroverError('unavailable', 'it does not answer'));
    await expect(remove(world, true)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(cordoned()).toEqual([]);
    const left: Volume = {
      metadata: newMetadata({ name: 'old-data-0', id: randomUUIDv7() }, 1),
      workload: 'old',
      claim: 'data',
      slot: 0,
      node: 'lab-pve1' as NodeName,
      instanceId: undefined,
      sizeMib: 1,
      pool: '',
      keep: true,
      removingSinceMs: undefined,
    };
    await store.transact((tx) => tx.put('volume', left.metadata.id, left));
    await expect(remove(world, true)).rejects.toMatchObject({ reason: 'volumes-left' });
    expect(cordoned()).toEqual([]);
    await store.transact((tx) => tx.delete('volume', left.metadata.id));
    await expect(remove(world, true)).resolves.toMatchObject({ nodes: ['lab-pve1', 'lab-pve2'] });
  });
});
