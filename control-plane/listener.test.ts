import { randomUUID, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { FleetServiceService, NodeServiceService, ObjectKind } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { HealthService } from '#shared/gen/grpc/health/v1/health.ts';
import { ServerReflectionService } from '#shared/gen/grpc/reflection/v1/reflection.ts';
import { type Log, type LogFields, silentLog } from '#shared/log.ts';
import type { NodeName } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createClient } from '#shared/rpc-client.ts';
import type { Service } from '#shared/rpc-server.ts';
import {
  createAuthority,
  createKey,
  createRequest,
  type Identity,
  issueCertificate,
  type KeyedCertificate,
  parseIdentity,
  parseJoinToken,
  sessionProtocol,
} from '#shared/tls.ts';
import { createFakeClusters } from '../test/fakes/cluster-backend.ts';
import { until } from '../test/until.ts';
import { clusterService } from './api/cluster-service.ts';
import { fleetService } from './api/fleet-service.ts';
import { createApi } from './api/grpc.ts';
import { nodeService } from './api/node-service.ts';
import { operationService } from './api/operation-service.ts';
import { createFleetView } from './fleet-view.ts';
import { openAuthority } from './identity/authority.ts';
import { startRevocation } from './identity/revocation.ts';
import { createJoinTokens } from './identity/tokens.ts';
import { listen } from './listener.ts';
import { ensureFleet } from './store/ensure-fleet.ts';
import { createMemoryJournal } from './store/memory.ts';
import { openStore } from './store/open-store.ts';
import { revokeCertificate } from './store/revoke-certificate.ts';

const dayMs = 24 * 3_600_000;
const deadlineMs = 5000;
const incarnation = '0192aaaa-0000-7000-8000-00000000000a';

function recordingLog(lines: LogFields[]): Log {
  const note = (fields: LogFields): void => void lines.push(fields);
  return { ...silentLog, warn: note, error: note };
}

async function setUp() {
  const stateDir = await mkdtemp(path.join(os.tmpdir(), 'drover-listener-'));
  const clock = systemClock;
  const store = await openStore({ journal: createMemoryJournal(), clock });
  const fleetId = randomUUID();
  await store.transact((tx) => ensureFleet(tx, fleetId));
  const authority = await openAuthority({ stateDir, fleetId, clock });
  const revocation = startRevocation({ store, clock, fleetId });
  const lines: LogFields[] = [];
  const log = recordingLog(lines);
  const { backend } = createFakeClusters({ clock, storeOf: () => store });
  const tokens = createJoinTokens({
    store,
    authority,
    clock,
    random: systemRandom,
    address: () => 'localhost:1',
  });
  const deps = {
    store,
    view: createFleetView(),
    backendOf: () => backend,
    clusters: backend,
    clock,
    random: systemRandom,
    wake: () => {},
  };
  const api = createApi(
    {
      fleet: fleetService(deps),
      node: nodeService({ ...deps, authority, tokens, disconnect: backend.disconnect }),
      operation: operationService(deps),
      cluster: clusterService(deps),
    },
    { revocation, log },
  );
  const sessions: NodeName[] = [];
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    server: await authority.issueWithKey({ role: 'control-plane', name: 'control-plane' }, ['127.0.0.1']),
    authority: authority.certificate.pem,
    revocation,
    clock,
    log,
    serve: api.serve,
    acceptSession: async (socket, node) => {
      sessions.push(node);
      await new Promise((resolve) => socket.once('close', resolve));
    },
  });
  const closers: (() => void)[] = [];
  const ca = Buffer.from(authority.certificate.pem);
  return {
    store,
    authority,
    fleetId,
    listener,
    sessions,
    lines,
    tokens,
    client<S extends Service>(service: S, keyed?: KeyedCertificate) {
      const { keyPem, certificate } = keyed ?? {};
      const secure =
        keyPem === undefined || certificate === undefined
          ? credentials.createSsl(ca)
          : credentials.createSsl(ca, Buffer.from(keyPem), Buffer.from(certificate.pem));
      const client = createClient(service, listener.address, secure, {
        'grpc.use_local_subchannel_pool': 1,
      });
      closers.push(() => client.close());
      return client;
    },
    ownKeyed: async (): Promise<KeyedCertificate> => ({
      certificate: authority.certificate,
      keyPem: await readFile(path.join(stateDir, 'ca', 'ca-key.pem'), 'utf8'),
    }),
    as: (role: Identity['role'], name = 'somebody') => authority.issueWithKey({ role, name }),
    async [Symbol.asyncDispose]() {
      for (const close of closers) close();
      api.close();
      await listener.close();
      revocation.close();
      await backend.close();
      await store.close();
      await rm(stateDir, { recursive: true });
    },
  };
}

type World = Awaited<ReturnType<typeof setUp>>;

async function join(world: World, node: string) {
  const { token } = await world.tokens.create({ node, ttlMs: 0, replace: false, caller: 'admin/root' });
  const { csr, keyPem } = await createRequest();
  const { secret } = parseJoinToken(token);
  const joined = await world.client(NodeServiceService).join({ secret, csr, incarnation }, { deadlineMs });
  const certificate = { ...world.authority.certificate, der: joined.certificate };
  return {
    keyPem,
    certificate: { ...certificate, pem: new X509Certificate(joined.certificate).toString() },
    joined,
  };
}

describe('certificates that do not count', () => {
  const keyed = async (options: Omit<Parameters<typeof issueCertificate>[0], 'subject'>) => {
    const key = await createKey();
    return { keyPem: key.keyPem, certificate: await issueCertificate({ ...options, subject: key }) };
  };
  const admin = (fleetId: string): Identity => ({ fleetId, role: 'admin', name: 'root' });
  it.each([
    [
      'of another authority with the same names',
      async ({ fleetId }: World) => {
        const nowMs = Date.now();
        const authority = await createAuthority({
          commonName: `Drover fleet ${fleetId}`,
          nowMs,
          lifeMs: dayMs,
        });
        return keyed({ authority, identity: admin(fleetId), nowMs, lifeMs: dayMs });
      },
    ],
    [
      'that has expired',
      async ({ fleetId, ownKeyed }: World) => {
        const nowMs = Date.now() - 2 * dayMs;
        return keyed({ authority: await ownKeyed(), identity: admin(fleetId), nowMs, lifeMs: dayMs });
      },
    ],
    [
      'of another fleet',
      async ({ ownKeyed }: World) => {
        const identity = admin(randomUUID());
        return keyed({ authority: await ownKeyed(), identity, nowMs: Date.now(), lifeMs: dayMs });
      },
    ],
    ['for servers alone', ({ as }: World) => as('control-plane', 'control-plane')],
    ['of a node that is not of the fleet', ({ as }: World) => as('node', 'h9')],
  ])('one %s is refused, and the log says whose', async (_, make) => {
    await using world = await setUp();
    const client = world.client(FleetServiceService, await make(world));
    await expect(client.getFleet({}, { deadlineMs })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(world.lines.find(({ event }) => event === 'connection.refused')).toMatchObject({
      subject: expect.stringContaining('CN='),
      reason: expect.stringMatching(/./),
    });
  });
});

describe('the interface', () => {
  it('lets a stranger ask for health and nothing else', async () => {
    await using world = await setUp();
    const health = await world.client(HealthService).check({ service: '' }, { deadlineMs });
    expect(health.status).toBe(1);
    const denied = { kind: 'unauthenticated' };
    await expect(world.client(FleetServiceService).getFleet({}, { deadlineMs })).rejects.toMatchObject(
      denied,
    );
  });

  it('knows a caller by the certificate, and keeps a node to its own', async () => {
    await using world = await setUp();
    const fleet = await world
      .client(FleetServiceService, await world.as('viewer', 'eve'))
      .getFleet({}, { deadlineMs });
    expect(fleet).toMatchObject({ caller: 'viewer/eve', fleetId: world.fleetId });
    const node = await join(world, 'h1');
    const denied = { kind: 'permission-denied' };
    const asNode = world.client(FleetServiceService, node);
    await expect(asNode.getFleet({}, { deadlineMs })).rejects.toMatchObject(denied);
    const { csr } = await createRequest();
    const nodes = world.client(NodeServiceService, node);
    const renewed = await nodes.renewCertificate({ csr }, { deadlineMs });
    expect(parseIdentity(renewed.certificate)).toMatchObject({ role: 'node', name: 'h1' });
  });

  it('describes itself to tools that ask', async () => {
    await using world = await setUp();
    const call = world.client(ServerReflectionService, await world.as('viewer')).serverReflectionInfo();
    for (const messageRequest of [
      { $case: 'listServices', value: '' },
      { $case: 'fileContainingSymbol', value: 'drover.fleet.v1.FleetService.Apply' },
      { $case: 'fileContainingSymbol', value: 'drover.fleet.v1.Nothing' },
    ] as const)
      await call.send({ host: '', messageRequest });
    call.end();
    const answers: string[] = [];
    for await (const { messageResponse } of call.output) {
      if (messageResponse?.$case === 'fileDescriptorResponse')
        answers.push(`${messageResponse.value.fileDescriptorProto.length} files`);
      else if (messageResponse?.$case === 'listServicesResponse')
        answers.push(messageResponse.value.service.map(({ name }) => name).join(' '));
      else answers.push(messageResponse?.$case ?? '');
    }
    expect(answers).toEqual([
      'drover.fleet.v1.ClusterService drover.fleet.v1.FleetService drover.fleet.v1.NodeService ' +
        'drover.fleet.v1.OperationService',
      '2 files',
      'errorResponse',
    ]);
  });

  it('ends live calls within ten seconds of their certificate’s end', async () => {
    await using world = await setUp();
    const viewer = await world.as('viewer');
    const client = world.client(FleetServiceService, viewer);
    const request = { project: '', kinds: [ObjectKind.OBJECT_KIND_NODE], fromRevision: 0n };
    const seen: string[] = [];
    const ended = (async () => {
      for await (const { event } of client.watch(request)) seen.push(event?.$case ?? '');
    })().catch((error: unknown) => error);
    await until(() => seen.includes('bookmark'), { what: 'the watch is live' });
    const atMs = Date.now();
    await world.store.transact((tx) =>
      revokeCertificate(tx, {
        serial: viewer.certificate.serial,
        subject: 'viewer/somebody',
        revokedAtMs: atMs,
        expiresAtMs: atMs + dayMs,
      }),
    );
    expect(await ended).toMatchObject({ kind: 'unavailable' });
    expect(Date.now() - atMs).toBeLessThan(10_000);
    await expect(client.getFleet({}, { deadlineMs })).rejects.toMatchObject({ kind: 'unavailable' });
  }, 20_000);
});

describe('sessions', () => {
  async function dial(world: World, keyed: KeyedCertificate | undefined): Promise<tls.TLSSocket> {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: Number(world.listener.address.split(':')[1]),
      ca: world.authority.certificate.pem,
      ...(keyed === undefined ? {} : { key: keyed.keyPem, cert: keyed.certificate.pem }),
      ALPNProtocols: [sessionProtocol],
      checkServerIdentity: () => undefined,
    });
    socket.on('error', () => {});
    socket.resume();
    return socket;
  }

  it('are for nodes alone, each as itself, and end when the node is removed', async () => {
    await using world = await setUp();
    const node = await join(world, 'h1');
    const socket = await dial(world, node);
    await until(() => world.sessions.length === 1, { what: 'a session' });
    expect(world.sessions).toEqual(['h1']);
    for (const other of [undefined, await world.as('admin')]) {
      const refused = await dial(world, other);
      await until(() => refused.destroyed, { what: 'the connection is closed' });
    }
    expect(world.sessions).toEqual(['h1']);
    const admin = world.client(NodeServiceService, await world.as('admin'));
    await admin.removeNode({ name: 'h1', lost: false }, { deadlineMs });
    await until(() => socket.destroyed, { what: 'the session ended' });
    const again = await dial(world, node);
    await until(() => again.destroyed, { what: 'it does not come back' });
  }, 20_000);
});

describe('join tokens', () => {
  const attempt = async (world: World, token: string) => {
    const { csr } = await createRequest();
    const { secret } = parseJoinToken(token);
    return world.client(NodeServiceService).join({ secret, csr, incarnation }, { deadlineMs });
  };
  const tokenFor = async (world: World, node: string, ttlMs = 0, replace = false): Promise<string> =>
    (await world.tokens.create({ node, ttlMs, replace, caller: 'admin/root' })).token;
  const denied = { kind: 'permission-denied' };

  it('let one of two hosts in that use the same at once', async () => {
    await using world = await setUp();
    const token = await tokenFor(world, 'h1');
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => attempt(world, token)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await expect(attempt(world, token)).rejects.toMatchObject(denied);
  });

  it('are worth nothing once expired, replaced by a newer one, or guessed; and are kept as a hash', async () => {
    await using world = await setUp();
    const expired = await tokenFor(world, 'h1', 1);
    await until(() => Date.now() > (world.store.snapshot().list('join-token')[0]?.expiresAtMs ?? 0), {
      what: 'it is over',
    });
    await expect(attempt(world, expired)).rejects.toMatchObject(denied);
    const older = await tokenFor(world, 'h1');
    const newer = await tokenFor(world, 'h1');
    expect(JSON.stringify(world.store.snapshot().list('join-token'))).not.toContain(
      parseJoinToken(newer).secret,
    );
    await expect(attempt(world, older)).rejects.toMatchObject(denied);
    await attempt(world, newer);
  });

  it('are refused by the dozen for a minute at most', async () => {
    await using world = await setUp();
    const { csr } = await createRequest();
    const client = world.client(NodeServiceService);
    const kinds = new Set<string>();
    for (let guess = 0; guess < 70; guess += 1) {
      const request = { secret: `guess-${guess}`, csr, incarnation };
      const error: unknown = await client.join(request, { deadlineMs }).catch((caught: unknown) => caught);
      kinds.add((error as { kind: string }).kind);
    }
    expect([...kinds]).toEqual(['permission-denied', 'resource-exhausted']);
  });

  it('take over a name only when made for that, and the host of before is out', async () => {
    await using world = await setUp();
    const before = await join(world, 'h1');
    await expect(tokenFor(world, 'h1')).rejects.toMatchObject({ kind: 'already-exists' });
    const nodes = world.client(NodeServiceService, before);
    const { csr } = await createRequest();
    await nodes.renewCertificate({ csr }, { deadlineMs }); // The first certificate has a while left.
    await attempt(world, await tokenFor(world, 'h1', 0, true));
    await expect(nodes.renewCertificate({ csr }, { deadlineMs })).rejects.toMatchObject({
      kind: expect.stringMatching(/unauthenticated|unavailable/),
    });
  });
});
