import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { startHttpsServer, testAuthority } from '../../../../test/https-server.ts';
import { parseEndpoint } from './addresses.ts';
import { fingerprintOf, pinnedConnector } from './certificates.ts';

const { signal } = new AbortController();

async function plainServer(onConnection: (end: () => void) => void) {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    onConnection(() => socket.end('HTTP/1.1 301 Moved\r\n\r\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => void server.close() };
}

describe('the fingerprint of a server', () => {
  it('is what it shows, and nothing is sent to it', async () => {
    await using server = await startHttpsServer(await testAuthority(), () => undefined);
    expect(await fingerprintOf(server.address, systemClock, signal)).toBe(server.fingerprint);
    expect(server.fingerprint).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    expect(server.requests).toEqual([]);
  });

  it.each([['that does not speak TLS', (end: () => void) => end()]])(
    '%s is none',
    async (_name, onConnection) => {
      await using server = await plainServer(onConnection);
      await expect(fingerprintOf(server.address, systemClock, signal)).rejects.toMatchObject({
        kind: 'unavailable',
        reason: 'connection',
        message: `${server.address}: it does not speak TLS`,
      });
    },
  );

  it('is not waited for longer than the caller wants', async () => {
    await using server = await plainServer(() => undefined);
    await expect(fingerprintOf(server.address, systemClock, systemClock.timeout(20))).rejects.toMatchObject({
      kind: 'unavailable',
      message: `${server.address}: no connection in time`,
    });
  });

  it('of nobody is none', async () => {
    await expect(fingerprintOf('127.0.0.1:1', systemClock, signal)).rejects.toMatchObject({
      kind: 'unavailable',
      message: '127.0.0.1:1: connection refused',
    });
  });
});

describe('a pinned server', () => {
  const pinOf = (byte: string): string => Array.from({ length: 32 }, () => byte).join(':');

  it('that changed is told with the one pin it had, of all that there are', async () => {
    const authority = await testAuthority();
    await using server = await startHttpsServer(authority, () => undefined);
    const was = server.fingerprint;
    const sha256 = [pinOf('AA'), was, pinOf('BB'), pinOf('CC'), pinOf('DD')];
    const open = pinnedConnector({ kind: 'fingerprints', sha256 });
    const address = parseEndpoint(server.address);
    (await open(address, signal)).destroy();
    await server.rotate(authority);
    await expect(open(address, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'certificate',
      message: expect.stringContaining(`pinned was ${was}, it shows ${server.fingerprint}`),
      subject: { pinned: was, found: server.fingerprint, acted: 'no' },
    });
  });

  it('that was never right is told with some of the pins', async () => {
    await using server = await startHttpsServer(await testAuthority(), () => undefined);
    const sha256 = ['AA', 'BB', 'CC', 'DD', 'EE'].map(pinOf);
    const open = pinnedConnector({ kind: 'fingerprints', sha256 });
    await expect(open(parseEndpoint(server.address), signal)).rejects.toMatchObject({
      message: expect.stringContaining(`${pinOf('CC')} or one of 2 others, it shows`),
    });
  });

  it.each([
    ['has expired', -7_200_000, /was good until/],
    ['is not good yet', 7_200_000, /is good only from/],
  ])('of an authority that %s is refused with the time', async (_name, shiftMs, message) => {
    const authority = await testAuthority();
    await using server = await startHttpsServer(authority, () => undefined);
    await server.rotate(authority, ['127.0.0.1'], shiftMs);
    const open = pinnedConnector({ kind: 'authority', pem: authority.certificate.pem });
    await expect(open(parseEndpoint(server.address), signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'certificate',
      message: expect.stringMatching(message),
    });
  });
});
