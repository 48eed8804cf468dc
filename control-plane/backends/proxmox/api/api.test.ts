import { createHash } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { DroverError } from '#shared/errors.ts';
import type { ClusterCredential, ClusterTrust } from '#shared/model.ts';
import type { KeyedCertificate } from '#shared/tls.ts';
import { type FakeClock, createFakeClock } from '../../../../test/fakes/clock.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import {
  type Handler,
  type HttpsServer,
  answerJson,
  startHttpsServer,
  testAuthority,
} from '../../../../test/https-server.ts';
import { until } from '../../../../test/until.ts';
import { openClusterApi } from './api.ts';
import { factsFor } from '../schema/facts.ts';
import type { CallOptions, ClusterApi } from '../cluster-api.ts';

let authority: KeyedCertificate;
let otherAuthority: KeyedCertificate;
beforeAll(async () => {
  [authority, otherAuthority] = await Promise.all([testAuthority(), testAuthority('Another')]);
});

const token: ClusterCredential = {
  kind: 'token',
  tokenId: 'drover@pve!fleet',
  secret: '00000000-0000-4000-8000-000000000001',
};
const { signal } = new AbortController();
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

async function server(handler: Handler = (_request, response) => answerJson(response, { data: 'ok' })) {
  const started = await startHttpsServer(authority, handler);
  cleanUp.push(() => started.stop());
  return started;
}

function api(
  endpoints: readonly (HttpsServer | string)[],
  options: { credential?: ClusterCredential; trust?: ClusterTrust; clock?: FakeClock } = {},
): ClusterApi {
  const trust = options.trust ?? ({ kind: 'authority', pem: authority.certificate.pem } as const);
  const spec = {
    endpoints: endpoints.map((one) => (typeof one === 'string' ? one : one.address)),
    trust,
    credential: options.credential ?? token,
  };
  const opened = openClusterApi('rig', spec, {
    clock: options.clock ?? systemClock,
    random: createSeededRandom(1),
    facts: factsFor('9.2.11'),
  });
  cleanUp.push(() => opened.close());
  return opened;
}

/** Any method with any parameters: what they are is the schema's matter. */
const ask = (
  client: ClusterApi,
  method: string,
  parameters: object,
  options: CallOptions,
): Promise<unknown> => client.call(method as 'GET /nodes', parameters, options);
const errorOf = (promise: Promise<unknown>): Promise<DroverError> =>
  promise.then(
    () => Promise.reject(new Error('it went well')),
    (error: DroverError) => error,
  );
const pins = (...servers: readonly HttpsServer[]): ClusterTrust => ({
  kind: 'fingerprints',
  sha256: servers.map(({ fingerprint }) => fingerprint),
});

describe('parameters', () => {
  it.each([
    [
      'GET /nodes/{node}/tasks',
      { node: 'pve1', userfilter: 'a&b c+d=é', errors: true },
      'tasks?userfilter=a%26b%20c%2Bd%3D%C3%A9&errors=1',
    ],
    [
      'DELETE /nodes/{node}/lxc/{vmid}',
      { node: 'pve1', vmid: 7000, purge: true, force: false },
      'lxc/7000?purge=1&force=0',
    ],
  ])('of %s go into the query, and there is no body', async (method, parameters, path) => {
    const pve = await server();
    await ask(api([pve]), method, parameters, { signal });
    expect(pve.requests[0]).toMatchObject({
      method: method.split(' ')[0],
      url: `/api2/json/nodes/pve1/${path}`,
      body: Buffer.alloc(0),
    });
    expect(pve.requests[0]?.headers['content-length']).toBeUndefined();
    expect(pve.requests[0]?.headers['transfer-encoding']).toBeUndefined();
  });

  it.each([
    ['POST /pools', { poolid: 'a', comment: 'é=1&b"' }, '/pools', 'poolid=a&comment=%C3%A9%3D1%26b%22'],
    [
      'PUT /nodes/{node}/lxc/{vmid}/config',
      { node: 'pve1', vmid: 7000, net0: { name: 'eth0', bridge: 'vmbr0' }, description: 'a\nb' },
      '/nodes/pve1/lxc/7000/config',
      'net0=name%3Deth0%2Cbridge%3Dvmbr0&description=a%0Ab',
    ],
  ])('of %s go into a form whose length is known', async (method, parameters, path, form) => {
    const pve = await server();
    await ask(api([pve]), method, parameters, { signal });
    const [request] = pve.requests;
    expect(request?.url).toBe(`/api2/json${path}`);
    expect(request?.body.toString()).toBe(form);
    expect(request?.headers).toMatchObject({
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(request?.body.length),
    });
    expect(request?.headers['transfer-encoding']).toBeUndefined();
  });

  it('of a write may be none', async () => {
    const pve = await server();
    await ask(
      api([pve]),
      'POST /nodes/{node}/lxc/{vmid}/status/start',
      { node: 'pve1', vmid: 7000 },
      { signal },
    );
    expect(pve.requests[0]?.headers).toMatchObject({ 'content-length': '0' });
  });

  it.each([
    [
      'POST /pools',
      'comment',
      512 * 1024,
      /takes a form of up to 524288 bytes, found 5243\d\d; the longest part is comment/,
    ],
    [
      'GET /nodes/{node}/tasks',
      'userfilter',
      8000,
      /takes a query of up to 7000 bytes, found 80\d\d; the longest part is userfilter/,
    ],
  ])('of %s that are too long are not sent', async (method, name, length, message) => {
    const pve = await server();
    const parameters = { node: 'pve1', [name]: 'x'.repeat(length) };
    const error = await errorOf(
      ask(
        api([pve]),
        method,
        method.startsWith('GET') ? parameters : { poolid: 'a', [name]: 'x'.repeat(length) },
        { signal },
      ),
    );
    expect(error).toMatchObject({ kind: 'invalid-argument', reason: 'too-long', subject: { acted: 'no' } });
    expect(error.message).toMatch(message);
    expect(pve.connections()).toBe(0);
  });

  it('are still taken at the limit', async () => {
    const pve = await server();
    await ask(api([pve]), 'POST /pools', { poolid: 'a', comment: 'x'.repeat(512 * 1024 - 17) }, { signal });
    expect(pve.requests[0]?.body.length).toBe(512 * 1024);
  });
});

describe('connections', () => {
  it('are kept, for not more than 100 requests', async () => {
    const pve = await server();
    const client = api([pve]);
    for (let count = 0; count < 230; count += 1) await ask(client, 'GET /nodes', {}, { signal });
    const perConnection = Map.groupBy(pve.requests, ({ connection }) => connection);
    expect([...perConnection.values()].every((requests) => requests.length <= 100)).toBe(true);
    expect(perConnection.size).toBeLessThan(6);
    expect(Math.max(...[...perConnection.values()].map(({ length }) => length))).toBe(100);
  });

  it('are given up by us before the server does it after 5 s of silence', async () => {
    const pve = await server();
    await ask(api([pve]), 'GET /nodes', {}, { signal });
    const idleSinceMs = systemClock.monotonicMs();
    expect(pve.open()).toBe(1);
    await until(() => pve.open() === 0, { what: 'the connection is closed' });
    expect(systemClock.monotonicMs() - idleSinceMs).toBeLessThan(5000);
  });

  it('that the server ended while they were idle are no failure, for reads and for writes', async () => {
    const pve = await server();
    const client = api([pve]);
    await ask(client, 'GET /nodes', {}, { signal });
    await pve.stop();
    await pve.listen();
    await ask(client, 'POST /pools', { poolid: 'a' }, { signal });
    expect(pve.requests).toHaveLength(2);
  });

  it('that end in the middle of a read are made anew', async () => {
    let count = 0;
    const pve = await server((_request, response) => {
      count += 1;
      if (count === 1) response.destroy();
      else answerJson(response, { data: 1 });
    });
    expect(await ask(api([pve]), 'GET /nodes', {}, { signal })).toBe(1);
  });

  it('that end in the middle of a write leave it unknown, and it is not sent again', async () => {
    const one = await server((_request, response) => void response.destroy());
    const other = await server();
    const error = await errorOf(ask(api([one, other]), 'POST /pools', { poolid: 'a' }, { signal }));
    expect(error).toMatchObject({ kind: 'unavailable', reason: 'connection' });
    expect(error.subject['acted']).toBeUndefined();
    expect([one.requests.length, other.requests.length]).toEqual([1, 0]);
  });
});

describe('the credential', () => {
  it('is a token in a header, without CSRF', async () => {
    const pve = await server();
    await ask(api([pve]), 'POST /pools', { poolid: 'a' }, { signal });
    expect(pve.requests[0]?.headers).toMatchObject({
      authorization: 'PVEAPIToken=drover@pve!fleet=00000000-0000-4000-8000-000000000001',
    });
    expect(pve.requests[0]?.headers['csrfpreventiontoken']).toBeUndefined();
  });

  it('that is a token and refused is asked once', async () => {
    const pve = await server((_request, response) => answerJson(response, '', 401, 'Authentication failed!'));
    const error = await errorOf(ask(api([pve]), 'GET /nodes', {}, { signal }));
    expect(error).toMatchObject({ kind: 'unauthenticated', reason: 'credential' });
    expect(error.nextStep).not.toBe('');
    expect(pve.requests).toHaveLength(1);
  });

  it('never stands in an error, whatever went wrong', async () => {
    const pve = await server((request, response) => {
      if (request.url.endsWith('/nodes')) answerJson(response, '', 401, 'Authentication failed!');
      else if (request.method === 'GET') response.destroy();
      else answerJson(response, { data: null, message: 'no' }, 500, 'no');
    });
    const client = api([pve]);
    const calls = [
      ask(client, 'GET /nodes', {}, { signal }),
      ask(client, 'GET /pools', {}, { signal }),
      ask(client, 'POST /pools', { poolid: 'a' }, { signal }),
    ];
    for (const error of await Promise.all(calls.map(errorOf))) {
      const cause =
        error.cause instanceof Error ? `${error.cause.message} ${JSON.stringify(error.cause)}` : '';
      expect(`${JSON.stringify(error)} ${error.message} ${cause}`).not.toContain('00000000-0000-4000');
    }
  });

  it('that is a password becomes a ticket, and a write that was refused for its age is made once more', async () => {
    let tickets = 0;
    const pve = await server((request, response) => {
      if (request.url === '/api2/json/access/ticket') {
        tickets += 1;
        return answerJson(response, {
          data: { ticket: `PVE:t${tickets}`, CSRFPreventionToken: `csrf${tickets}` },
        });
      }
      const fresh = request.headers['cookie'] === 'PVEAuthCookie=PVE:t2';
      const write = request.method !== 'GET';
      if (write && !fresh) return answerJson(response, '', 401, 'Permission denied - invalid csrf token');
      return answerJson(response, { data: request.headers['csrfpreventiontoken'] ?? 'none' });
    });
    const clock = createFakeClock();
    const credential = { kind: 'password', user: 'drover@pve', password: 'a&b=c d' } as const;
    const client = api([pve], { credential, clock });
    expect(await ask(client, 'GET /nodes', {}, { signal })).toBe('none');
    await clock.advance(60_000);
    expect(await ask(client, 'POST /pools', { poolid: 'a' }, { signal })).toBe('csrf2');
    const logins = pve.requests.filter(({ url }) => url.endsWith('/access/ticket'));
    expect(logins.map(({ body }) => body.toString())).toEqual([
      'username=drover%40pve&password=a%26b%3Dc%20d',
      'username=drover%40pve&password=a%26b%3Dc%20d',
    ]);
  });
});

describe('the certificate', () => {
  it.each(['authority', 'fingerprints'] as const)('is taken by its %s', async (kind) => {
    const pve = await server();
    const trust = kind === 'authority' ? ({ kind, pem: authority.certificate.pem } as const) : pins(pve);
    expect(await ask(api([pve], { trust }), 'GET /nodes', {}, { signal })).toBe('ok');
  });

  it.each([
    ['of another authority', 'authority'],
    ['with another fingerprint', 'fingerprints'],
  ] as const)('%s gets nothing at all', async (_name, kind) => {
    const pve = await server();
    const trust =
      kind === 'authority'
        ? ({ kind, pem: otherAuthority.certificate.pem } as const)
        : ({ kind, sha256: ['AB'.repeat(32).replace(/(..)(?=.)/g, '$1:')] } as const);
    const error = await errorOf(ask(api([pve], { trust }), 'POST /pools', { poolid: 'a' }, { signal }));
    expect(error).toMatchObject({
      kind: 'failed-precondition',
      reason: 'certificate',
      subject: { cluster: 'rig', acted: 'no', found: pve.fingerprint },
    });
    expect(error.message).toContain(pve.fingerprint);
    expect(error.message).toMatch(/pinned/);
    expect(pve.requests).toEqual([]);
  });

  it('that changed says what it was and what it is, and another node serves', async () => {
    const one = await server();
    const other = await server();
    const was = one.fingerprint;
    const client = api([one, other], { trust: pins(one, other) });
    client.learn([{ address: one.address, node: 'pve1', fingerprint: one.fingerprint }]);
    await ask(client, 'GET /nodes', {}, { signal });
    await one.rotate(authority);
    await one.stop();
    await one.listen();
    const problem = await until(
      async () => {
        await ask(client, 'GET /nodes', {}, { signal, via: 'pve1' });
        const found = client.endpoints().find(({ address }) => address === one.address);
        return found?.problem.includes('certificate') === true ? found.problem : undefined;
      },
      { what: 'the new certificate is seen' },
    );
    expect(problem).toContain(`pinned was ${was}`);
    expect(problem).toContain(`it shows ${one.fingerprint}`);
    expect(one.requests).toHaveLength(1);
    expect(other.requests.length).toBeGreaterThan(0);
  });

  it('for another name is refused, and says for which it is', async () => {
    const pve = await startHttpsServer(authority, () => undefined, ['pve9.example']);
    cleanUp.push(() => pve.stop());
    const error = await errorOf(ask(api([pve]), 'GET /nodes', {}, { signal }));
    expect(error).toMatchObject({ kind: 'failed-precondition', reason: 'certificate' });
    expect(error.message).toContain('pve9.example');
  });

  it('of a node that was learned is the one that the cluster told', async () => {
    const [one, other, stranger] = [await server(), await server(), await server()];
    const client = api([one], { trust: pins(one) });
    client.learn([
      { address: other.address, node: 'pve2', fingerprint: other.fingerprint.toLowerCase() },
      { address: stranger.address, node: 'pve3', fingerprint: one.fingerprint },
    ]);
    await ask(client, 'GET /nodes', {}, { signal, via: 'pve2' });
    await ask(client, 'GET /nodes', {}, { signal, via: 'pve3' });
    expect([one.requests.length, other.requests.length, stranger.requests.length]).toEqual([1, 1, 0]);
  });

  it.each([
    ['an authority that is none', { kind: 'authority', pem: 'x' }],
    ['no fingerprint', { kind: 'fingerprints', sha256: [] }],
    ['a fingerprint of another form', { kind: 'fingerprints', sha256: ['ab:cd'] }],
  ] as const)('cannot be %s', (_name, trust) => {
    expect(() => api(['127.0.0.1:1'], { trust })).toThrow(
      expect.objectContaining({ kind: 'invalid-argument' }),
    );
  });
});

describe('several endpoints', () => {
  it('are asked in turn when one is gone, writes as well where nothing was sent', async () => {
    const [one, other] = [await server(), await server()];
    await one.stop();
    const client = api([one, other]);
    expect(await ask(client, 'POST /pools', { poolid: 'a' }, { signal })).toBe('ok');
    expect(other.requests).toHaveLength(1);
    expect(client.endpoints()).toEqual([
      { address: one.address, problem: `${one.address}: connection refused` },
      { address: other.address, problem: '' },
    ]);
  });

  it('none of which answers make us suspect ourselves', async () => {
    const [one, other] = [await server(), await server()];
    await Promise.all([one.stop(), other.stop()]);
    const error = await errorOf(ask(api([one, other]), 'GET /nodes', {}, { signal }));
    expect(error).toMatchObject({
      kind: 'unavailable',
      reason: 'connection',
      subject: { cluster: 'rig', acted: 'no' },
      nextStep: "check this host's own network first, then the nodes of rig",
    });
    expect(error.message).toMatch(/^none of the 2 known endpoints of cluster rig answers \(/);
  });

  it('that all rest are not asked before the rest is over', async () => {
    const pve = await server();
    await pve.stop();
    const clock = createFakeClock();
    const client = api([pve], { clock });
    await errorOf(ask(client, 'GET /nodes', {}, { signal }));
    await pve.listen();
    expect(await errorOf(ask(client, 'GET /nodes', {}, { signal }))).toMatchObject({ kind: 'unavailable' });
    expect(pve.connections()).toBe(0);
    await clock.advance(1000);
    expect(await ask(client, 'GET /nodes', {}, { signal })).toBe('ok');
  });

  it('come back by themselves, tried aside', async () => {
    const [one, other] = [await server(), await server()];
    await one.stop();
    const clock = createFakeClock();
    const client = api([one, other], { clock });
    await ask(client, 'GET /nodes', {}, { signal });
    await one.listen();
    await clock.advance(1000);
    await ask(client, 'GET /nodes', {}, { signal });
    await until(() => client.endpoints().every(({ problem }) => problem === ''), { what: 'both are well' });
    expect(one.requests).toHaveLength(0);
    await ask(client, 'GET /nodes', {}, { signal });
    expect(one.requests).toHaveLength(1);
  });

  it('are not taken for dead when a call is slow', async () => {
    const one = await server((request, response) =>
      request.url.includes('pools') ? false : answerJson(response, { data: 1 }),
    );
    const other = await server();
    const client = api([one, other]);
    const error = await errorOf(ask(client, 'POST /pools', { poolid: 'a' }, { signal, timeoutMs: 50 }));
    expect(error).toMatchObject({ kind: 'deadline-exceeded', reason: 'timeout' });
    expect(error.subject['acted']).toBeUndefined();
    expect(error.message).toBe('POST /pools: no answer within 0.05 s; what it did is unknown');
    expect(other.requests).toHaveLength(0);
    // The next one prefers the other; this one is only told of.
    await ask(client, 'GET /nodes', {}, { signal });
    expect(other.requests).toHaveLength(1);
    await other.stop();
    expect(await ask(client, 'GET /nodes', {}, { signal })).toBe(1);
  });

  it('that were learned go when the cluster does not tell of them any more', async () => {
    const [one, other] = [await server(), await server()];
    const client = api([one]);
    client.learn([{ address: other.address }]);
    expect(client.endpoints()).toHaveLength(2);
    client.learn([{ address: one.address, node: 'pve1' }]);
    expect(client.endpoints().map(({ address }) => address)).toEqual([one.address]);
  });

  it('that go take their connections along, which others do not', async () => {
    const [one, other] = [await server(), await server()];
    const client = api([one], { clock: createFakeClock() });
    client.learn([{ address: other.address, node: 'pve2' }]);
    await ask(client, 'GET /nodes', {}, { signal });
    await ask(client, 'GET /nodes', {}, { signal, via: 'pve2' });
    expect([one.open(), other.open()]).toEqual([1, 1]);
    client.learn([{ address: one.address, node: 'pve1' }]);
    await until(() => other.open() === 0, { what: 'no connection to it', deadlineMs: 2000 });
    expect(one.open()).toBe(1);
  });
});

describe('answers', () => {
  it('that are huge are cut off', async () => {
    const pve = await server((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"data":"');
      const chunk = Buffer.alloc(1024 * 1024, 120);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    });
    const error = await errorOf(ask(api([pve]), 'GET /nodes', {}, { signal }));
    expect(error).toMatchObject({ kind: 'internal', reason: 'answer-size' });
    expect(error.message).toContain('8388608');
  });

  it('of the whole cluster may be longer', async () => {
    const text = 'x'.repeat(9 * 1024 * 1024);
    const pve = await server((_request, response) => answerJson(response, { data: text }));
    expect(await ask(api([pve]), 'GET /cluster/resources', {}, { signal })).toHaveLength(text.length);
  });

  it('that end too early are a lost connection', async () => {
    const pve = await server((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
      response.write('{"data":[');
      setImmediate(() => response.destroy());
    });
    const error = await errorOf(ask(api([pve]), 'GET /nodes', {}, { signal }));
    expect(error).toMatchObject({ kind: 'unavailable', reason: 'connection' });
    expect(pve.requests).toHaveLength(2);
  });

  it('that dribble end with the time', async () => {
    const pve = await server((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
      response.write('{');
      return false;
    });
    const error = await errorOf(ask(api([pve]), 'GET /nodes', {}, { signal, timeoutMs: 50 }));
    expect(error.kind).toBe('deadline-exceeded');
  });

  it('that are no HTTP are a lost connection', async () => {
    const pve = await server((_request, response) => void response.socket?.end('nonsense\r\n\r\n'));
    const error = await errorOf(ask(api([pve]), 'GET /nodes', {}, { signal }));
    expect(error).toMatchObject({ kind: 'unavailable', reason: 'connection' });
  });

  it('say in their errors what they were about', async () => {
    const pve = await server((_request, response) =>
      answerJson(
        response,
        { data: null, message: 'CT 7030 already running\n' },
        500,
        'CT 7030 already running',
      ),
    );
    const call = ask(
      api([pve]),
      'POST /nodes/{node}/lxc/{vmid}/status/start',
      { node: 'pve1', vmid: 7030 },
      { signal },
    );
    expect(await errorOf(call)).toMatchObject({
      kind: 'failed-precondition',
      reason: 'running',
      subject: {
        cluster: 'rig',
        node: 'pve1',
        method: 'POST /nodes/{node}/lxc/{vmid}/status/start',
        endpoint: pve.address,
      },
    });
  });
});

describe('whoever gives up', () => {
  it('after it was sent knows that the outcome is unknown', async () => {
    const pve = await server(() => false);
    const giveUp = new AbortController();
    const call = errorOf(ask(api([pve]), 'POST /pools', { poolid: 'a' }, { signal: giveUp.signal }));
    await until(() => pve.requests.length === 1, { what: 'it is there' });
    giveUp.abort();
    expect(await call).toMatchObject({ kind: 'unavailable', reason: 'cancelled' });
  });

  it('before it was sent knows that nothing was done', async () => {
    const pve = await server();
    const error = await errorOf(
      ask(api([pve]), 'POST /pools', { poolid: 'a' }, { signal: AbortSignal.abort() }),
    );
    expect(error).toMatchObject({ kind: 'unavailable', reason: 'cancelled', subject: { acted: 'no' } });
    expect(pve.requests).toEqual([]);
  });

  it('by closing ends all calls, and later ones', async () => {
    const pve = await server(() => false);
    const client = api([pve]);
    const call = errorOf(ask(client, 'GET /nodes', {}, { signal }));
    await until(() => pve.requests.length === 1, { what: 'it is there' });
    await client.close();
    expect(await call).toMatchObject({ kind: 'unavailable', reason: 'closed' });
    expect(await errorOf(ask(client, 'GET /nodes', {}, { signal }))).toMatchObject({ reason: 'closed' });
  });
});

describe('a node without the majority', () => {
  const status = (quorate: number) => [
    { type: 'cluster', id: 'cluster', name: 'rig', quorate },
    { type: 'node', id: 'node/pve1', name: 'pve1', online: 1 },
  ];

  it('is asked after those that have it', async () => {
    const cut = await server((_request, response) => answerJson(response, { data: status(0) }));
    const whole = await server((_request, response) => answerJson(response, { data: status(1) }));
    const client = api([cut, whole]);
    const askStatus = () => ask(client, 'GET /cluster/status', {}, { signal });
    expect(await askStatus()).toEqual(status(0));
    expect(await askStatus()).toEqual(status(1));
    expect(await askStatus()).toEqual(status(1));
    expect(client.endpoints().map(({ problem }) => problem)).toEqual(['', '']);
    expect([cut.requests.length, whole.requests.length]).toEqual([1, 2]);
  });
});

describe('an upload', () => {
  const target = { node: 'pve2', storage: 'local', content: 'vztmpl' };

  it('has its fields before the file, a length, and a content type', async () => {
    const pve = await server((_request, response) => answerJson(response, { data: 'UPID:pve1:x' }));
    const bytes = Buffer.from('the template');
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const file = {
      name: 'alpine_1.tar.gz',
      bytes: bytes.length,
      open: async function* () {
        yield bytes;
      },
    };
    expect(await api([pve]).upload(target, file, { sha256 }, { signal })).toBe('UPID:pve1:x');
    const [request] = pve.requests;
    const boundary = String(request?.headers['content-type']).split('boundary=')[1];
    expect(request?.url).toBe('/api2/json/nodes/pve2/storage/local/upload');
    expect(request?.headers['content-length']).toBe(String(request?.body.length));
    expect(request?.headers['transfer-encoding']).toBeUndefined();
    const field = (name: string, value: string): string =>
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
    expect(request?.body.toString()).toBe(
      field('content', 'vztmpl') +
        field('checksum-algorithm', 'sha256') +
        field('checksum', sha256) +
        `--${boundary}\r\nContent-Disposition: form-data; name="filename"; filename="alpine_1.tar.gz"\r\n` +
        `Content-Type: application/octet-stream\r\n\r\nthe template\r\n--${boundary}--\r\n`,
    );
  });

  it('of a large file arrives whole', async () => {
    const pve = await server((_request, response) => answerJson(response, { data: 'UPID:pve1:x' }));
    const chunk = Buffer.alloc(64 * 1024, 7);
    const open = async function* () {
      for (let count = 0; count < 320; count += 1) yield chunk;
    };
    await api([pve]).upload(target, { name: 'big.iso', bytes: 320 * chunk.length, open }, {}, { signal });
    const body = pve.requests[0]?.body ?? Buffer.alloc(0);
    expect(body.filter((byte) => byte === 7).length).toBe(320 * chunk.length);
  });

  it('that nobody takes is not read into memory', async () => {
    const pve = await server();
    pve.pauseBodies();
    let read = 0;
    const file = {
      name: 'big.iso',
      bytes: 1024 * 1024 * 1024,
      open: async function* () {
        for (; read < 1024; read += 1) yield Buffer.alloc(1024 * 1024);
      },
    };
    const error = await errorOf(api([pve]).upload(target, file, {}, { signal, timeoutMs: 500 }));
    expect(error.kind).toBe('deadline-exceeded');
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(64);
  });

  it.each([
    ['shorter', 11],
    ['longer', 13],
  ])('of a file that is %s than was said is not ended', async (_name, bytes) => {
    const pve = await server((_request, response) => answerJson(response, { data: 'UPID:pve1:x' }));
    const file = {
      name: 'a.iso',
      bytes,
      open: async function* () {
        yield Buffer.from('the template');
      },
    };
    const error = await errorOf(api([pve]).upload(target, file, {}, { signal }));
    expect(error).toMatchObject({ kind: 'invalid-argument', reason: 'length' });
    expect(pve.requests).toEqual([]);
  });

  it.each(['a"b.iso', '../x.iso', 'a\r\nb', '', '-x'])('cannot be named %j', async (name) => {
    const pve = await server();
    const file = { name, bytes: 0, open: async function* () {} };
    expect(await errorOf(api([pve]).upload(target, file, {}, { signal }))).toMatchObject({
      kind: 'invalid-argument',
    });
    expect(pve.connections()).toBe(0);
  });
});
