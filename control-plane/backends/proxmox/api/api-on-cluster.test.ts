/** The client and its tasks against whole clusters of both versions, with what goes wrong in them. */
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { DroverError } from '#shared/errors.ts';
import type { ClusterSpec } from '#shared/model.ts';
import {
  type ProxmoxServer,
  type ProxmoxServerOptions,
  startProxmoxServer,
} from '../../../../test/fakes/proxmox-server.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import { until } from '../../../../test/until.ts';
import { openClusterApi } from './api.ts';
import type { ClusterApi, Tasks } from '../cluster-api.ts';
import { createTasks } from '../tasks/tasks.ts';

const { signal } = new AbortController();
const template = 'local:vztmpl/alpine-3.20-tiny_20240908_amd64.tar.gz';
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

interface ClusterWorld {
  readonly server: ProxmoxServer;
  readonly api: ClusterApi;
  readonly tasks: Tasks;
}

async function cluster(
  options: ProxmoxServerOptions = {},
  client: { readonly withPassword?: boolean; readonly withFingerprints?: boolean } = {},
): Promise<ClusterWorld> {
  const server = await startProxmoxServer({ pace: 0.01, ...options });
  cleanUp.push(() => server.close());
  const { user, password, tokenId, secret } = server;
  const spec: ClusterSpec = {
    endpoints: [...server.endpoints.values()],
    trust: client.withFingerprints
      ? { kind: 'fingerprints', sha256: [...server.fingerprints().values()] }
      : { kind: 'authority', pem: server.authorityPem },
    credential: client.withPassword
      ? { kind: 'password', user, password }
      : { kind: 'token', tokenId, secret },
  };
  const api = openClusterApi('rig', spec, { clock: systemClock, random: createSeededRandom(1) });
  cleanUp.push(() => api.close());
  return { server, api, tasks: createTasks({ cluster: 'rig', api, clock: systemClock }) };
}

const errorOf = (promise: Promise<unknown>): Promise<DroverError> =>
  promise.then(
    () => Promise.reject(new Error('it went well')),
    (error: DroverError) => error,
  );

const createContainer = ({ api }: ClusterWorld, vmid: number, node = 'pve1'): Promise<string> =>
  api.call(
    'POST /nodes/{node}/lxc',
    {
      node,
      vmid,
      ostemplate: template,
      rootfs: 'local:1',
      memory: 64,
      unprivileged: true,
      net0: { name: 'eth0', bridge: 'vmbr0' },
      description: 'a=1&b=2\nü "quoted"',
    },
    { signal },
  ) as Promise<string>;

describe.each(['8.4.21', '9.2.11'] as const)('a cluster of version %s', (version) => {
  it('makes, starts and removes a container, and tells how far it is', async () => {
    const world = await cluster({ version });
    const { api, tasks } = world;
    const lines: string[] = [];
    const created = await tasks.wait(await createContainer(world, 7000), {
      signal,
      onLog: (line) => lines.push(line),
    });
    expect(created.warnings).toBe(0);
    expect(lines.length).toBeGreaterThan(0);
    const guest = { node: 'pve1', vmid: 7000 };
    expect(await api.call('GET /nodes/{node}/lxc/{vmid}/config', guest, { signal })).toMatchObject({
      memory: 64,
      description: 'a=1&b=2\nü "quoted"\n',
    });
    const start = await api.call('POST /nodes/{node}/lxc/{vmid}/status/start', guest, { signal });
    await tasks.wait(start as string, { signal });
    const again = api.call('POST /nodes/{node}/lxc/{vmid}/status/start', guest, { signal });
    expect(await errorOf(again)).toMatchObject({ kind: 'failed-precondition', reason: 'running' });
    const remove = api.call('DELETE /nodes/{node}/lxc/{vmid}', guest, { signal });
    expect(await errorOf(remove)).toMatchObject({ kind: 'failed-precondition', reason: 'running' });
    const stop = await api.call('POST /nodes/{node}/lxc/{vmid}/status/stop', guest, { signal });
    await tasks.wait(stop as string, { signal });
    const gone = await api.call('DELETE /nodes/{node}/lxc/{vmid}', guest, { signal });
    await tasks.wait(gone as string, { signal });
    expect(await errorOf(api.call('GET /nodes/{node}/lxc/{vmid}/config', guest, { signal }))).toMatchObject({
      kind: 'not-found',
      reason: 'guest',
    });
  });

  it('is asked for its version once, and takes no parameter of another', async () => {
    const { api, server } = await cluster({ version });
    await Promise.all([1, 2, 3, 4].map(() => api.call('GET /nodes', {}, { signal })));
    expect(server.requests.list().filter((request) => request.endsWith('/version'))).toHaveLength(1);
    const rules = api.call('GET /cluster/ha/rules', {}, { signal });
    const refused = await rules.then(
      () => false,
      (error: DroverError) => error.kind === 'unimplemented' && error.message.includes('8.4'),
    );
    expect(refused).toBe(version === '8.4.21');
  });

  it('that does not tell its version has done nothing', async () => {
    const world = await cluster({ version });
    world.server.faults.cut('GET /version', 9);
    expect(await errorOf(createContainer(world, 7700))).toMatchObject({
      kind: 'unavailable',
      reason: 'connection',
      subject: { cluster: 'rig', acted: 'no' },
    });
  });

  it('follows many tasks with few requests', async () => {
    const world = await cluster({ version, pace: 1 });
    const { server, tasks } = world;
    const upids: string[] = [];
    for (let vmid = 7100; vmid < 7120; vmid += 1) upids.push(await createContainer(world, vmid));
    server.requests.reset();
    await Promise.all(upids.map((upid) => tasks.wait(upid, { signal })));
    const statuses = server.requests.list().filter((request) => request.includes('/status')).length;
    expect(statuses).toBeLessThanOrEqual(60);
  });

  it('refuses what only a task finds out, in the task', async () => {
    const { api, tasks } = await cluster({ version });
    const start = await api.call(
      'POST /nodes/{node}/lxc/{vmid}/status/start',
      { node: 'pve1', vmid: 7999 },
      { signal },
    );
    expect(await errorOf(tasks.wait(start as string, { signal }))).toMatchObject({
      kind: 'not-found',
      reason: 'guest',
      subject: { cluster: 'rig', node: 'pve1', task: 'vzstart' },
    });
  });

  it('gives one VMID to one of those that race for it', async () => {
    const world = await cluster({ version });
    const races = await Promise.allSettled([1, 2, 3].map(() => createContainer(world, 7200)));
    const errors = races.flatMap((race) => (race.status === 'rejected' ? [race.reason as DroverError] : []));
    expect(errors).toHaveLength(2);
    for (const error of errors) expect(error).toMatchObject({ kind: 'already-exists', reason: 'exists' });
  });

  it('takes an upload at another node than was asked, and its task runs where its id says', async () => {
    const { api, tasks, server } = await cluster({ version });
    const bytes = new Uint8Array(300_000).fill(7);
    const open = async function* () {
      yield bytes;
    };
    const upid = await api.upload(
      { node: 'pve2', storage: 'local', content: 'iso' },
      { name: 'a.iso', bytes: bytes.length, open },
      {},
      { signal, via: 'pve1' },
    );
    await tasks.wait(upid, { signal });
    const content = await api.call(
      'GET /nodes/{node}/storage/{storage}/content',
      { node: 'pve2', storage: 'local', content: 'iso' },
      { signal },
    );
    expect(content).toEqual([expect.objectContaining({ volid: 'local:iso/a.iso', size: 300_000 })]);
    expect(server.requests.count()).toBeGreaterThan(0);
  });

  it('loses an answer, and the write is not made twice', async () => {
    const world = await cluster({ version });
    world.server.faults.loseAnswer('POST /nodes/{node}/lxc');
    const error = await errorOf(createContainer(world, 7300));
    expect(error).toMatchObject({ kind: 'unavailable', reason: 'connection' });
    expect(error.subject['acted']).toBeUndefined();
    const creates = world.server.requests.list().filter((request) => /^POST .*\/lxc$/.test(request));
    expect(creates).toHaveLength(1);
    // Whoever looks finds it there.
    await until(
      () =>
        world.api
          .call('GET /nodes/{node}/lxc/{vmid}/config', { node: 'pve1', vmid: 7300 }, { signal })
          .catch(() => undefined),
      { what: 'the container is there' },
    );
  });

  it('gives garbage, and says so', async () => {
    const { api, server } = await cluster({ version });
    const ask = () => errorOf(api.call('GET /nodes', {}, { signal }));
    server.faults.html('GET /nodes');
    expect(await ask()).toMatchObject({ kind: 'unavailable', reason: 'not-the-api' });
    server.faults.truncate('GET /nodes', 4);
    expect(await ask()).toMatchObject({ kind: 'unavailable', reason: 'connection' });
    server.faults.reset();
    server.faults.huge('GET /nodes', 16 * 1024 * 1024);
    expect(await ask()).toMatchObject({ kind: 'internal', reason: 'answer-size' });
    server.faults.reset();
    server.faults.cut('GET /nodes');
    expect(await api.call('GET /nodes', {}, { signal })).toHaveLength(3);
  });

  it('loses a node: the others serve, and what it does is unknown', async () => {
    const world = await cluster({ version });
    const { api, server, tasks } = world;
    const upid = await createContainer(world, 7400, 'pve3');
    await server.faults.killNode('pve3');
    const giveUp = new AbortController();
    const lost = errorOf(tasks.wait(upid, { signal: giveUp.signal }));
    const error = await errorOf(
      api.call('GET /nodes/{node}/status', { node: 'pve3' }, { signal, via: 'pve3' }),
    );
    expect(error).toMatchObject({
      kind: 'unavailable',
      reason: 'node-unreachable',
      subject: { node: 'pve3' },
      message: expect.stringMatching(/^node pve3 does not answer the rest of its cluster/),
    });
    // Asked a second time only when the first answer is in.
    await until(() => server.requests.list().filter((request) => request.includes('UPID')).length > 1, {
      what: 'the task is asked for again',
    });
    giveUp.abort();
    expect(await lost).toMatchObject({ kind: 'unavailable', reason: 'task-lost' });
  });

  it('has no majority: reads go on, and writes have done nothing', async () => {
    const world = await cluster({ version });
    await world.server.faults.loseQuorum('pve1');
    expect(await errorOf(createContainer(world, 7500))).toMatchObject({
      kind: 'unavailable',
      reason: 'no-quorum',
      subject: { acted: 'no' },
    });
    expect(await world.api.call('GET /cluster/status', {}, { signal })).toBeInstanceOf(Array);
  });

  it('ends all tickets: the next call takes a new one, and its write is made once', async () => {
    const world = await cluster({ version }, { withPassword: true });
    await createContainer(world, 7600);
    world.server.faults.expireTickets();
    await createContainer(world, 7601);
    const asked = world.server.requests.list();
    expect(asked.filter((request) => request.includes('/access/ticket'))).toHaveLength(2);
  });

  it('changes a certificate: that node gets nothing more, and the others serve', async () => {
    const { api, server } = await cluster({ version }, { withFingerprints: true });
    const was = server.fingerprints().get('pve1') ?? '';
    await api.call('GET /version', {}, { signal });
    await server.faults.rotateCertificate('pve1', 'new');
    const problem = await until(
      async () => {
        await api.call('GET /version', {}, { signal });
        return api.endpoints().find((endpoint) => endpoint.problem.includes('pinned'))?.problem;
      },
      { what: 'the new certificate is seen' },
    );
    expect(problem).toContain(`pinned was ${was}`);
    expect(problem).toContain(`it shows ${server.fingerprints().get('pve1')}`);
  });
});
