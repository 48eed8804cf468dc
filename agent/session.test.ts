import { mkdtemp, rm } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { openRelay } from '../control-plane/backends/agent/relay.ts';
import { systemClock } from '#shared/clock.ts';
import { HelloRequest, RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { type LogFields, silentLog } from '#shared/log.ts';
import { createClient } from '#shared/rpc-client.ts';
import { createAuthority, createKey, type Identity, issueCertificate, sessionProtocol } from '#shared/tls.ts';
import { mountFakeNode } from '../test/fakes/agent.ts';
import { createFakeClock } from '../test/fakes/clock.ts';
import { createFakeNode } from '../test/fakes/node.ts';
import { createSeededRandom } from '../test/fakes/random.ts';
import { until } from '../test/until.ts';
import { runSessions } from './session.ts';

const fleetId = '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0001';
const life = { nowMs: Date.now(), lifeMs: 3_600_000 };

async function createCertificates() {
  const authority = await createAuthority({ commonName: 'test', ...life });
  const issue = async (role: Identity['role'], name: string, fleet = fleetId) => {
    const subject = await createKey();
    const identity = { fleetId: fleet, role, name };
    const certificate = await issueCertificate({ authority, subject, identity, ...life });
    return { certificate, keyPem: subject.keyPem };
  };
  return { authority, issue };
}

type Greeting = 'refuse' | 'hello' | 'silence';

/** What a control plane does with the connections of an agent: one greeting after the other, the last for good. */
async function listen(options: {
  readonly greetings: Greeting[];
  readonly fleet?: string;
  readonly alpn?: string;
}) {
  const { greetings, fleet, alpn = sessionProtocol } = options;
  const { authority, issue } = await createCertificates();
  const own = await issue('control-plane', 'main', fleet);
  const relayDir = await mkdtemp(path.join(os.tmpdir(), 'drover-session-'));
  const sockets: TLSSocket[] = [];

  async function sayHello(socket: TLSSocket): Promise<void> {
    const relay = await openRelay(socket, relayDir);
    const client = createClient(RuntimeServiceService, relay.target, credentials.createInsecure());
    socket.once('close', () => client.close());
    await client.hello(HelloRequest.fromPartial({ fleetId }));
  }
  const server = createServer(
    {
      cert: own.certificate.pem,
      key: own.keyPem,
      ca: authority.certificate.pem,
      requestCert: true,
      ALPNProtocols: [alpn],
      minVersion: 'TLSv1.3',
    },
    (socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      const greeting = greetings.length > 1 ? greetings.shift() : greetings[0];
      if (greeting === 'refuse') socket.destroy();
      if (greeting === 'hello') sayHello(socket).catch(() => socket.destroy());
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    authority,
    identity: await issue('node', 'h1'),
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(relayDir, { recursive: true, force: true });
    },
  };
}

/** An agent that dials; its time is ours, its connections are real. */
async function dial(peer: Pick<Awaited<ReturnType<typeof listen>>, 'address' | 'authority' | 'identity'>) {
  const clock = createFakeClock();
  const lines: LogFields[] = [];
  const note = (fields: LogFields): void => void lines.push(fields);
  const ending = new AbortController();
  const node = createFakeNode({ name: 'h1', clock: systemClock });
  const { address, authority, identity } = peer;
  const authoritiesPem = authority.certificate.pem;
  const ended = runSessions({
    identity: () => ({ ...identity, fleetId, node: 'h1', address, authoritiesPem }),
    address: () => address,
    mountServices: (server, onHello) => mountFakeNode(node, server, { onHello }),
    clock,
    // No luck: each wait is as long as it may be.
    random: { ...createSeededRandom(1), fraction: () => 0 },
    log: { ...silentLog, info: note, warn: note },
    signal: ending.signal,
  });
  const of = (event: string): LogFields[] => lines.filter((line) => line.event === event);
  return {
    clock,
    of,
    events: () => lines.map(({ event }) => event),
    /** Resolves with how the session ended. */
    async failure(count = 1): Promise<{ readonly message: string; readonly delayMs: unknown }> {
      await until(() => of('session.ended').length >= count, { what: `${count} sessions ended` });
      const { err, delayMs } = of('session.ended')[count - 1] ?? { event: '' };
      return { message: (err as Error).message, delayMs };
    },
    async [Symbol.asyncDispose]() {
      ending.abort(new Error('the test has ended'));
      await ended;
    },
  };
}

describe('the session of an agent', () => {
  it('is open once Hello has been said, and comes back after a cut', async () => {
    await using peer = await listen({ greetings: ['hello'] });
    await using agent = await dial(peer);
    await until(() => agent.of('session.opened').length === 1, { what: 'a session' });
    peer.sockets[0]?.destroy();
    expect(await agent.failure()).toEqual({
      message: `the session with ${peer.address} was cut`,
      delayMs: 500,
    });
    await agent.clock.advance(499);
    expect(peer.sockets).toHaveLength(1);
    await agent.clock.advance(1);
    await until(() => agent.of('session.opened').length === 2, { what: 'a second session' });
    expect(agent.events()).toEqual(['session.opened', 'session.ended', 'session.opened']);
  });

  it('is not called open by a control plane that refuses it right after the handshake', async () => {
    await using peer = await listen({ greetings: ['refuse'] });
    await using agent = await dial(peer);
    const waits: unknown[] = [];
    for (const count of [1, 2, 3, 4]) {
      const { message, delayMs } = await agent.failure(count);
      expect(message).toMatch(/ended the connection|closed the connection|reset|disconnected/);
      waits.push(delayMs);
      await agent.clock.advance(Number(delayMs));
    }
    expect(waits).toEqual([500, 1000, 2000, 4000]);
    expect(agent.of('session.opened')).toEqual([]);
  });

  it('begins to wait anew once a session was a good one', async () => {
    await using peer = await listen({ greetings: ['refuse', 'refuse', 'hello'] });
    await using agent = await dial(peer);
    for (const count of [1, 2]) await agent.clock.advance(Number((await agent.failure(count)).delayMs));
    await until(() => agent.of('session.opened').length === 1, { what: 'a session' });
    await agent.clock.advance(30_000);
    peer.sockets.at(-1)?.destroy();
    expect((await agent.failure(3)).delayMs).toBe(500);
  });

  it.each([
    ['nobody of ours', { fleet: '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0002' }, /wanted the control plane, found/],
    ['one that speaks something else', { alpn: 'h2' }, /no session with .*(alert|protocol|speak)/],
  ])('is never begun with %s', async (_name, options, message) => {
    await using peer = await listen({ greetings: ['silence'], ...options });
    await using agent = await dial(peer);
    expect((await agent.failure()).message).toMatch(message);
    expect(agent.of('session.opened')).toEqual([]);
  });

  it('gives up on a peer that takes the connection and says nothing', async () => {
    await using peer = await listen({ greetings: ['silence'] });
    const taken: net.Socket[] = [];
    const mute = net.createServer((socket) => void taken.push(socket.on('error', () => {})));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
    {
      await using agent = await dial({ ...peer, address });
      await until(() => taken.length === 1, { what: 'a connection' });
      await agent.clock.advance(15_000);
      expect((await agent.failure()).message).toMatch(/no session with .*: the time is up/);
    }
    for (const socket of taken) socket.destroy();
    await new Promise((resolve) => mute.close(resolve));
  });

  it('says so where nobody listens, and ends when told to in the midst of a wait', async () => {
    await using peer = await listen({ greetings: ['silence'] });
    await using agent = await dial({ ...peer, address: '127.0.0.1:1' });
    expect((await agent.failure()).message).toMatch(/no session with 127.0.0.1:1: .*ECONNREFUSED/);
  });
});
