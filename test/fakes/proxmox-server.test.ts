/** The server for tests itself: what HTTP, logins and faults do, beyond what the recordings show. */
import { Agent } from 'node:https';
import { describe, expect, it } from 'vitest';
import { createFakeClock } from './clock.ts';
import { startProxmoxServer } from './proxmox-server.ts';
import type { ProxmoxServer } from './proxmox-server.ts';
import { createRouteTable } from './proxmox/route-table.ts';
import { allRoutes } from './proxmox/routes.ts';
import { sendRaw } from './proxmox/raw-request.ts';
import type { RawAnswer, RawRequest } from './proxmox/raw-request.ts';
import { createTickets, ticketLifeMs } from './proxmox/tickets.ts';
import { until } from '../until.ts';

const form = { 'content-type': 'application/x-www-form-urlencoded' };

type Ask = Partial<RawRequest> & { readonly node?: string };

const ask = (server: ProxmoxServer, method: string, path: string, more: Ask = {}): Promise<RawAnswer> =>
  sendRaw({
    address: server.endpoints.get(more.node ?? 'pve1') ?? '',
    authorityPem: server.authorityPem,
    method,
    path: `/api2/json${path}`,
    ...more,
    headers: { authorization: `PVEAPIToken=${server.tokenId}=${server.secret}`, ...more.headers },
  });

const dataOf = (answer: RawAnswer): unknown => (JSON.parse(answer.text) as { data: unknown }).data;

/** A task that ends after a minute. */
const longTask = (server: ProxmoxServer): string =>
  server.world.task(
    { node: 'pve1', type: 'vzdump', id: 101, caller: { user: 'root@pam', authId: 'root@pam' } },
    (control) => control.passes(60_000),
  ).upid;

const stateOf = async (server: ProxmoxServer, upid: string): Promise<unknown> =>
  dataOf(await ask(server, 'GET', `/nodes/pve1/tasks/${encodeURIComponent(upid)}/status`));

describe('the Proxmox server for tests', () => {
  it('answers each node under its own certificate of one authority', async () => {
    await using server = await startProxmoxServer();
    const answers = await Promise.all(
      ['pve1', 'pve2', 'pve3'].map((node) => ask(server, 'GET', '/version', { node })),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(server.fingerprints().values()).size).toBe(3);
    expect([...server.fingerprints().values()][0]).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    expect(new Set([...server.endpoints.values()].map((address) => address.split(':')[1])).size).toBe(1);
  });

  it('serves only methods that the API has', async () => {
    for (const version of ['8.4.21', '9.2.11'] as const) {
      await using server = await startProxmoxServer({ version, nodes: ['pve1'] });
      const known = new Set(
        (['8.4.21', '9.2.11'] as const).flatMap((each) => {
          const routes = allRoutes(createTickets(server.world));
          const strangers = new Set(createRouteTable(each, routes).strangers());
          return Object.keys(routes).filter((name) => !strangers.has(name));
        }),
      );
      const served = Object.keys(allRoutes(createTickets(server.world)));
      expect(served.filter((name) => !known.has(name))).toEqual([]);
    }
  });

  it('refuses what pveproxy does not read', async () => {
    await using server = await startProxmoxServer();
    const chunked = await ask(server, 'POST', '/pools', { headers: form, body: 'poolid=a', chunked: true });
    expect([chunked.status, chunked.reason]).toEqual([501, 'chunked transfer encoding not supported']);
    const body = `poolid=${'a'.repeat(600 * 1024)}`;
    const large = await ask(server, 'POST', '/pools', { headers: form, body }).catch(() => undefined);
    if (large !== undefined) expect([large.status, large.reason]).toEqual([501, 'for data too large']);
    const query = await ask(server, 'GET', '/pools', { headers: form, body: '{}' });
    expect([query.status, query.headers['connection']]).toEqual([501, 'close']);
    expect(query.reason).toBe(`Unexpected content for method 'GET'`);
  });

  it('takes a hundred requests over one connection and then closes it', async () => {
    await using server = await startProxmoxServer();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const closing: string[] = [];
    for (let count = 1; count <= 101; count += 1) {
      const { headers } = await ask(server, 'GET', '/version', { agent });
      if (String(headers['connection']).toLowerCase() === 'close') closing.push(String(count));
    }
    agent.destroy();
    expect(closing).toEqual(['100']);
  });

  it('lets tickets end by its own clock, and all at once on demand', async () => {
    const clock = createFakeClock();
    await using server = await startProxmoxServer({ clock });
    const logIn = async (): Promise<Record<string, string>> => {
      const body = new URLSearchParams({ username: server.user, password: server.password }).toString();
      const answer = await ask(server, 'POST', '/access/ticket', { headers: form, body });
      return { cookie: `PVEAuthCookie=${(dataOf(answer) as { ticket: string }).ticket}`, authorization: '' };
    };
    const first = await logIn();
    const statusWith = async (headers: Record<string, string>): Promise<number> =>
      (await ask(server, 'GET', '/version', { headers })).status;
    expect(await statusWith(first)).toBe(200);
    await clock.advance(ticketLifeMs + 1000);
    expect(await statusWith(first)).toBe(401);
    const second = await logIn();
    expect(await statusWith(second)).toBe(200);
    server.faults.expireTickets();
    expect(await statusWith(second)).toBe(401);
  });

  it('does what it was asked and loses the answer', async () => {
    await using server = await startProxmoxServer();
    server.faults.loseAnswer('POST /pools');
    const write = { headers: form, body: 'poolid=lost' };
    await expect(ask(server, 'POST', '/pools', write)).rejects.toThrow(/hang up|ECONNRESET/);
    expect(server.world.pools.has('lost')).toBe(true);
    server.faults.cut('POST /pools');
    await expect(ask(server, 'POST', '/pools', { ...write, body: 'poolid=cut' })).rejects.toThrow(
      /hang up|ECONNRESET/,
    );
    expect(server.world.pools.has('cut')).toBe(false);
    server.faults.failNext('POST /pools', { status: 500, message: 'got timeout' });
    expect((await ask(server, 'POST', '/pools', { ...write, body: 'poolid=cut' })).reason).toBe(
      'got timeout',
    );
    expect((await ask(server, 'POST', '/pools', { ...write, body: 'poolid=cut' })).status).toBe(200);
  });

  it('answers nonsense where it is told to', async () => {
    await using server = await startProxmoxServer();
    server.faults.html('GET /version', 1, 502);
    const html = await ask(server, 'GET', '/version');
    expect([html.status, html.headers['content-type']]).toEqual([502, 'text/html']);
    server.faults.truncate('GET /version');
    await expect(ask(server, 'GET', '/version')).rejects.toThrow(/aborted|ECONNRESET/);
    server.faults.huge('GET /version', 2_000_000);
    expect((await ask(server, 'GET', '/version')).text.length).toBeGreaterThan(2_000_000);
    expect((await ask(server, 'GET', '/version')).status).toBe(200);
  });

  it('hangs, and goes on', async () => {
    await using server = await startProxmoxServer();
    const release = server.faults.hang('pve1');
    let answered = false;
    const waiting = ask(server, 'GET', '/version').finally(() => {
      answered = true;
    });
    expect((await ask(server, 'GET', '/version', { node: 'pve2' })).status).toBe(200);
    expect(answered).toBe(false);
    release();
    expect((await waiting).status).toBe(200);
  });

  it('rotates certificates of the same and of another authority', async () => {
    await using server = await startProxmoxServer();
    const before = server.fingerprints().get('pve1');
    await server.faults.rotateCertificate('pve1');
    expect(server.fingerprints().get('pve1')).not.toBe(before);
    expect((await ask(server, 'GET', '/version')).status).toBe(200);
    await server.faults.rotateCertificate('pve1', 'new');
    await expect(ask(server, 'GET', '/version')).rejects.toThrow(/self-signed|unable to/);
  });

  it('loses a node: its endpoint, its tasks, and in time its place', async () => {
    const clock = createFakeClock();
    await using server = await startProxmoxServer({ clock });
    const task = server.world.task(
      { node: 'pve3', type: 'vzdump', id: 101, caller: { user: 'root@pam', authId: 'root@pam' } },
      (control) => control.passes(5000),
    );
    await server.faults.killNode('pve3');
    await expect(ask(server, 'GET', '/version', { node: 'pve3' })).rejects.toThrow(/ECONNREFUSED/);
    const proxied = await ask(server, 'GET', '/nodes/pve3/status');
    expect([proxied.status, proxied.text]).toEqual([595, '']);
    const online = async (): Promise<unknown> =>
      (dataOf(await ask(server, 'GET', '/nodes')) as { node: string; status: string }[]).find(
        ({ node }) => node === 'pve3',
      )?.status;
    expect(await online()).toBe('online');
    await clock.advance(12_000);
    expect(await online()).toBe('offline');
    expect(task.exitStatus).toBeUndefined();
    await server.faults.reviveNode('pve3');
    expect(task.exitStatus).toBe('unable to read tail (got 0 bytes)');
    expect((await ask(server, 'GET', '/version', { node: 'pve3' })).status).toBe(200);
  });

  it('tells of the guests of a dead node in either way that was seen', async () => {
    for (const rows of ['kept', 'forgotten'] as const) {
      const clock = createFakeClock();
      await using server = await startProxmoxServer({ clock });
      const { world } = server;
      const guest = world.newGuest({ vmid: 101, kind: 'lxc', node: 'pve3', config: { hostname: 'web' } });
      world.guests.set(101, guest);
      world.broadcasts.tell();
      await server.faults.killNode('pve3', { rows });
      await clock.advance(15_000);
      const [row] = dataOf(await ask(server, 'GET', '/cluster/resources?type=vm')) as Record<
        string,
        unknown
      >[];
      expect([row?.['status'], row?.['name']]).toEqual(
        rows === 'kept' ? ['stopped', 'web'] : ['unknown', undefined],
      );
    }
  });

  it('shows a new guest ten seconds late, and nameless until then', async () => {
    const clock = createFakeClock();
    await using server = await startProxmoxServer({ clock });
    const { world } = server;
    world.guests.set(
      101,
      world.newGuest({ vmid: 101, kind: 'lxc', node: 'pve1', config: { hostname: 'web' } }),
    );
    const row = async (): Promise<unknown> =>
      (dataOf(await ask(server, 'GET', '/cluster/resources?type=vm')) as unknown[])[0];
    expect(await row()).toEqual({ id: 'lxc/101', vmid: 101, type: 'lxc', node: 'pve1', status: 'unknown' });
    await clock.advance(10_000);
    expect(await row()).toMatchObject({ status: 'stopped', name: 'web' });
  });

  it('has no quorum alone, and writes nothing then', async () => {
    const clock = createFakeClock();
    await using server = await startProxmoxServer({ clock });
    await server.faults.loseQuorum('pve1');
    const writing = ask(server, 'POST', '/pools', { headers: form, body: 'poolid=a' });
    await until(() => clock.waiting() > 1, { what: 'the wait for the lock' });
    await clock.advance(9000);
    expect((await writing).reason).toBe(`create pool failed: cfs-lock 'file-user_cfg' error: no quorum!`);
    expect((await ask(server, 'GET', '/cluster/nextid')).status).toBe(200);
    await server.faults.regainQuorum();
    expect((await ask(server, 'POST', '/pools', { headers: form, body: 'poolid=a' })).status).toBe(200);
  });

  it('ends tasks by interrupt, and without a word when the worker is killed', async () => {
    const clock = createFakeClock();
    await using server = await startProxmoxServer({ clock });
    const aborted = longTask(server);
    const killed = longTask(server);
    expect(await stateOf(server, aborted)).toMatchObject({ status: 'running' });
    await ask(server, 'DELETE', `/nodes/pve1/tasks/${encodeURIComponent(aborted)}`);
    server.faults.killTaskWorker(killed);
    await clock.settle();
    expect(await stateOf(server, aborted)).toMatchObject({ exitstatus: 'received interrupt' });
    expect(await stateOf(server, killed)).toMatchObject({ exitstatus: 'unexpected status' });
  });

  it('makes locks wait ten seconds, then gives up', async () => {
    const clock = createFakeClock();
    await using server = await startProxmoxServer({ clock });
    const about = {
      node: 'pve1',
      type: 'vzstart',
      id: 101,
      caller: { user: 'root@pam', authId: 'root@pam' },
    };
    const [first, second, third] = [30_000, 1000, 1000].map((durationMs) =>
      server.world.task(about, (control) => control.locked('/run/lock/x', () => control.passes(durationMs))),
    );
    await clock.advance(11_000);
    expect(second?.exitStatus).toBe(`can't lock file '/run/lock/x' - got timeout`);
    expect(third?.log).toEqual(['trying to acquire lock...', `TASK ERROR: ${second?.exitStatus}`]);
    await clock.advance(20_000);
    expect(first?.exitStatus).toBe('OK');
  });

  it('warns without failing', async () => {
    const clock = createFakeClock();
    await using server = await startProxmoxServer({ clock });
    const about = {
      node: 'pve1',
      type: 'vzstart',
      id: 101,
      caller: { user: 'root@pam', authId: 'root@pam' },
    };
    const task = server.world.task(about, (control) => control.warn('a bridge is missing'));
    await clock.settle();
    expect(task.exitStatus).toBe('WARNINGS: 1');
    expect(task.log).toEqual(['WARN: a bridge is missing', 'TASK WARNINGS: 1']);
  });
});
