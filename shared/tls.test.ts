import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  createAuthority,
  createKey,
  createRequest,
  formatJoinToken,
  type Identity,
  issueCertificate,
  parseCertificate,
  parseIdentity,
  parseJoinToken,
  publicKeyPin,
} from './tls.ts';

const nowMs = Date.now();
const hourMs = 3_600_000;
const fleetId = '0192aaaa-0000-7000-8000-000000000001';
const node: Identity = { fleetId, role: 'node', name: 'h1' };

describe('certificates', () => {
  it('signs a request, and the certificate says who it is and for what', async () => {
    const authority = await createAuthority({ commonName: 'test', nowMs, lifeMs: hourMs });
    const { csr } = await createRequest();
    const issued = await issueCertificate({
      authority,
      subject: csr,
      identity: node,
      nowMs,
      lifeMs: 10 * hourMs,
    });
    const read = new X509Certificate(issued.pem);
    expect(read.verify(new X509Certificate(authority.certificate.pem).publicKey)).toBe(true);
    expect(read.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(read.ca).toBe(false);
    expect(issued.notAfterMs).toBe(authority.certificate.notAfterMs); // Never longer than its authority.
    expect(parseIdentity(issued.der)).toMatchObject({ ...node, serial: issued.serial });
    expect(read.serialNumber.toLowerCase().replace(/^0+/, '')).toBe(issued.serial);
  });

  it('names a server with its hosts and the server usage alone', async () => {
    const authority = await createAuthority({ commonName: 'test', nowMs, lifeMs: hourMs });
    const issued = await issueCertificate({
      authority,
      subject: await createKey(),
      identity: { fleetId, role: 'control-plane', name: 'control-plane' },
      hosts: ['localhost', '127.0.0.1', '::1'],
      nowMs,
      lifeMs: hourMs,
    });
    const read = new X509Certificate(issued.pem);
    expect(read.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(read.checkHost('localhost')).toBe('localhost');
    expect(read.checkIP('127.0.0.1')).toBe('127.0.0.1');
  });

  it('refuses what is not a request, or was changed after signing', async () => {
    const authority = await createAuthority({ commonName: 'test', nowMs, lifeMs: hourMs });
    const { csr } = await createRequest();
    const changed = Uint8Array.from(csr);
    const last = changed.length - 1;
    changed[last] = (changed[last] ?? 0) ^ 1;
    for (const subject of [new Uint8Array([1, 2, 3]), changed]) {
      const attempt = issueCertificate({ authority, subject, identity: node, nowMs, lifeMs: hourMs });
      await expect(attempt).rejects.toMatchObject({ kind: 'invalid-argument' });
    }
  });

  it('reads no identity from a certificate without a name of ours', async () => {
    const { certificate } = await createAuthority({ commonName: 'test', nowMs, lifeMs: hourMs });
    expect(parseIdentity(certificate.der)).toBeUndefined();
    expect(publicKeyPin(certificate.pem)).toBe(publicKeyPin(certificate.der));
    expect(parseCertificate(certificate.der)).toEqual(certificate);
  });
});

describe('join tokens', () => {
  it('survive the trip through text', () => {
    const token = { address: 'cp.example:7440', pin: 'ab'.repeat(32), secret: 's3cret', node: 'h1' };
    expect(parseJoinToken(`${formatJoinToken(token)}\n`)).toEqual(token);
  });

  it.each(['', 'drover1.', 'drover1.e30', 'drover2.e30', 'drover1.bm90IGpzb24'])('refuse %j', (text) => {
    expect(() => parseJoinToken(text)).toThrow(/not a whole join token/);
  });
});
