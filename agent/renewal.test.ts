import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../control-plane/config.ts';
import { startControlPlane } from '../control-plane/main.ts';
import { type Clock, systemClock } from '#shared/clock.ts';
import { NodeServiceService } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { type LogFields, silentLog } from '#shared/log.ts';
import { systemRandom } from '#shared/random.ts';
import { createClient } from '#shared/rpc-client.ts';
import { mountFakeNode } from '../test/fakes/agent.ts';
import { createFakeClock } from '../test/fakes/clock.ts';
import { createFakeNode } from '../test/fakes/node.ts';
import { until } from '../test/until.ts';
import { join, readIdentity } from './identity.ts';
import { startRenewal } from './renewal.ts';
import { runSessions } from './session.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const deadlineMs = 5000;
const incarnation = '0192aaaa-0000-7000-8000-00000000000a';

/** Begins in the past, for the TLS of this host believes no certificate of days to come. */
function createShiftedClock(behindMs: number) {
  let shiftMs = -behindMs;
  const nowMs = (): number => systemClock.nowMs() + shiftMs;
  return { clock: { ...systemClock, nowMs } satisfies Clock, pass: (ms: number) => void (shiftMs += ms) };
}

async function startFleet(folder: string, clock: Clock) {
  const stateDir = path.join(folder, 'cp');
  const config = parseConfig(['--state-dir', stateDir, '--listen', '127.0.0.1:0']);
  if (config === 'help') throw new Error('no help was asked for');
  const controlPlane = await startControlPlane(config, { clock, random: systemRandom, log: silentLog });
  const context = parse(await readFile(path.join(stateDir, 'admin.yaml'), 'utf8')) as Record<string, string>;
  const pem = (name: string): Buffer => Buffer.from(context[name] ?? '');
  const secure = credentials.createSsl(pem('ca'), pem('key'), pem('certificate'));
  const nodes = createClient(NodeServiceService, controlPlane.address, secure);
  return {
    nodes,
    address: controlPlane.address,
    async close() {
      nodes.close();
      await controlPlane.close();
    },
  };
}

async function setUp() {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-renewal-'));
  const { clock, pass } = createShiftedClock(22 * dayMs);
  const fleet = await startFleet(folder, clock);
  const { nodes, address } = fleet;
  const { token } = await nodes.createJoinToken({ node: 'h1', ttlMs: 0, replace: false }, { deadlineMs });
  const stateDir = path.join(folder, 'agent');
  const first = await join(token, { stateDir, incarnation, name: '' });
  const lines: LogFields[] = [];
  const note = (fields: LogFields): void => void lines.push(fields);
  const log = { ...silentLog, info: note, warn: note };
  const checks = createFakeClock();
  let reached = address;
  const ownClock = { ...checks, nowMs: clock.nowMs };
  const renewal = startRenewal({ stateDir, first, address: () => reached, clock: ownClock, log });
  const node = createFakeNode({ name: 'h1', clock: systemClock });
  node.incarnation = incarnation;
  const ending = new AbortController();
  const ended = runSessions({
    identity: renewal.identity,
    address: () => address,
    mountServices: (server, onHello) => mountFakeNode(node, server, { onHello }),
    clock: systemClock,
    random: systemRandom,
    log,
    signal: ending.signal,
  });
  const count = (event: string): number => lines.filter((line) => line.event === event).length;
  await until(() => count('session.opened') === 1, { what: 'a session' });
  return {
    count,
    first,
    identity: renewal.identity,
    kept: () => readIdentity(stateDir),
    /** Time goes by, and with it the hour of the next look. */
    async pass(ms: number) {
      pass(ms);
      await checks.advance(hourMs);
    },
    reach: (other = address) => void (reached = other),
    /** An order that goes over the session. */
    async answers(): Promise<boolean> {
      for await (const { unreachable } of nodes.listImages({ node: 'h1' }, { deadlineMs })) {
        if (unreachable !== '') return false;
      }
      return true;
    },
    async [Symbol.asyncDispose]() {
      renewal.stop();
      ending.abort(new Error('the test has ended'));
      await ended;
      await fleet.close();
      await rm(folder, { recursive: true });
    },
  };
}

describe('the certificate of a node', () => {
  it('is renewed after two thirds of its life, and the session goes on', { timeout: 30_000 }, async () => {
    await using world = await setUp();
    await world.pass(19 * dayMs);
    expect(world.identity()).toEqual(world.first);
    await world.pass(2 * dayMs);
    await until(() => world.count('certificate.renewed') === 1, { what: 'a new certificate' });
    const renewed = world.identity();
    expect(renewed.certificate.serial).not.toBe(world.first.certificate.serial);
    expect(renewed.keyPem).not.toBe(world.first.keyPem);
    expect(await world.kept()).toEqual(renewed);
    expect(await world.answers()).toBe(true);
    expect(world.count('session.ended')).toBe(0);
    // The old one counts for another day; then the session is opened anew on the new one.
    await world.pass(25 * hourMs);
    await until(() => world.count('session.opened') === 2, { what: 'a session on the new certificate' });
    await until(() => world.answers(), { what: 'it takes orders' });
    expect(world.count('certificate.renewed')).toBe(1);
  });

  it('is tried again an hour later when the control plane cannot be reached', {
    timeout: 30_000,
  }, async () => {
    await using world = await setUp();
    world.reach('127.0.0.1:1');
    await world.pass(21 * dayMs);
    await until(() => world.count('renewal.failed') === 1, { what: 'a renewal that failed' });
    expect(world.identity()).toEqual(world.first);
    world.reach();
    await world.pass(hourMs);
    await until(() => world.count('certificate.renewed') === 1, { what: 'a new certificate' });
    expect(await world.answers()).toBe(true);
  });
});
