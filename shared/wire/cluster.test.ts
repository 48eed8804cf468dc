import { describe, expect, it } from 'vitest';
import { guestRecord } from '../../test/fakes/cluster-records.ts';
import { checkImage, collectFaults } from './checks.ts';
import {
  checkFingerprint,
  formatGuest,
  parseClusterChange,
  parseClusterSpec,
  parseEndpoint,
  parseVmid,
} from './cluster.ts';

const certificate = '-----BEGIN CERTIFICATE-----\nTUlJ\nQkFR\n-----END CERTIFICATE-----';
const secret = 'AAAAAAAA-0000-4000-8000-00000000000F';
const spec = (changes: object = {}) =>
  parseClusterSpec({
    endpoints: ['10.0.0.11'],
    trust: { authorityPem: certificate, fingerprints: [] },
    credential: { tokenId: 'drover@pve!fleet', tokenSecret: secret, user: '', password: '' },
    ...changes,
  });
const faultsOf = (act: () => unknown): string[] => {
  try {
    act();
    return [];
  } catch (error) {
    return (error as { faults: { field: string }[] }).faults.map(({ field }) => field);
  }
};

describe('an endpoint', () => {
  it.each([
    ['10.0.0.11', '10.0.0.11:8006'],
    ['10.0.0.11:443', '10.0.0.11:443'],
    ['PVE1.Example.COM', 'pve1.example.com:8006'],
    ['[fd00::11]', '[fd00::11]:8006'],
    ['[FD00::11]:08006', '[fd00::11]:8006'],
  ])('%s is %s', (text, wanted) => {
    expect(parseEndpoint(text)).toBe(wanted);
  });

  it.each([
    '',
    'https://pve',
    'pve:0',
    'pve:65536',
    'pve:x',
    'a b',
    'pve/',
    'fd00::11',
    'user@pve',
    `${'a.'.repeat(99)}b`,
    '-x',
    'a\n',
  ])('%j is none', (text) => {
    expect(() => parseEndpoint(text)).toThrowError(/is not an address/);
  });
});

describe('a fingerprint', () => {
  const digits = 'ab12'.repeat(16);
  const wanted = Array.from({ length: 16 }, () => 'AB:12').join(':');
  it.each([
    ['digits alone', digits],
    ['with colons', wanted],
    ['as openssl prints it', `sha256 Fingerprint=${wanted.toLowerCase()}`],
  ])('is taken %s', (_title, text) => {
    const faults = collectFaults();
    expect(checkFingerprint(text, 'x', faults)).toBe(wanted);
    faults.throwIfAny('x');
  });

  it.each(['', digits.slice(1), `${digits}0`, digits.replace('a', 'g'), 'a'.repeat(100_000)])(
    'is not %j',
    (text) => {
      const faults = collectFaults();
      checkFingerprint(text, 'x', faults);
      expect(() => faults.throwIfAny('x')).toThrowError(/is not a SHA-256 fingerprint/);
    },
  );
});

describe('a cluster', () => {
  it('is kept as it was given, but for its form', () => {
    expect(spec({ endpoints: ['A', 'a:8006', 'b'] })).toEqual({
      endpoints: ['a:8006', 'b:8006'],
      trust: { kind: 'authority', pem: `${certificate}\n` },
      credential: { kind: 'token', tokenId: 'drover@pve!fleet', secret: secret.toLowerCase() },
    });
  });

  it('takes several certificates, and leaves out what stands between them', () => {
    const pem = `Subject: x\r\n${certificate.replaceAll('\n', '\r\n')}\r\nmore\r\n${certificate}\r\n`;
    const { trust } = spec({ trust: { authorityPem: pem, fingerprints: [] } });
    expect(trust).toEqual({ kind: 'authority', pem: `${certificate}\n${certificate}\n` });
  });

  it.each([
    ['a key', certificate.replaceAll('CERTIFICATE', 'PRIVATE KEY')],
    ['a certificate without an end', certificate.slice(0, -5)],
    ['text', 'hello'],
    ['too much', certificate.repeat(2000)],
    ['a certificate and a broken one', `${certificate}\n${certificate.replace('TUlJ', '<html>')}`],
  ])('does not take %s for an authority', (_title, authorityPem) => {
    expect(faultsOf(() => spec({ trust: { authorityPem, fingerprints: [] } }))).toEqual([
      'trust.authorityPem',
    ]);
  });

  it('takes a user with a password, whatever the password', () => {
    const credential = { tokenId: '', tokenSecret: '', user: 'ann@home@pam', password: 'ä &=;%!' };
    expect(spec({ credential }).credential).toEqual({
      kind: 'password',
      user: 'ann@home@pam',
      password: 'ä &=;%!',
    });
  });

  it.each([
    ['both', { tokenId: 'a@pve!bb', tokenSecret: secret, user: 'a@pve', password: 'x' }, ['credential']],
    [
      'an id alone',
      { tokenId: 'a@pve!bb', tokenSecret: '', user: '', password: '' },
      ['credential.tokenSecret'],
    ],
    ['a user alone', { tokenId: '', tokenSecret: '', user: 'a@pve', password: '' }, ['credential.password']],
    [
      'a user as a token',
      { tokenId: 'a@pve', tokenSecret: secret, user: '', password: '' },
      ['credential.tokenId'],
    ],
    [
      'two marks',
      { tokenId: 'a@pve!b!c', tokenSecret: secret, user: '', password: '' },
      ['credential.tokenId'],
    ],
    [
      'a line break',
      { tokenId: '', tokenSecret: '', user: 'a@pve', password: 'x\r\ny' },
      ['credential.password'],
    ],
    [
      'a header',
      { tokenId: 'a@pve!b\r\nX: y', tokenSecret: secret, user: '', password: '' },
      ['credential.tokenId'],
    ],
  ])('does not take %s as a credential', (_title, credential, fields) => {
    expect(faultsOf(() => spec({ credential }))).toEqual(fields);
  });

  it('tells all faults at once', () => {
    expect(faultsOf(() => spec({ endpoints: ['/'], trust: undefined, credential: undefined }))).toEqual([
      'endpoints[0]',
      'trust',
      'credential',
    ]);
  });
});

it.each([1, 99, 1_000_000_000, -1, 100.5 - 1])('%d is no number of a guest', (vmid) => {
  expect(() => parseVmid(vmid)).toThrowError(/not the number of a guest/);
});

it('that is said to be elsewhere, by another certificate, wants the credential again', () => {
  const before = spec();
  const trust = { authorityPem: '', fingerprints: ['AA:'.repeat(32).slice(0, -1)] };
  const change = (endpoints: readonly string[], credential: object | undefined) => () =>
    parseClusterChange(before, { endpoints, trust, credential } as never);
  expect(faultsOf(change(['10.9.9.9'], undefined))).toEqual(['credential']);
  expect(faultsOf(change([], undefined))).toEqual([]);
  const credential = { tokenId: 'drover@pve!fleet', tokenSecret: secret, user: '', password: '' };
  expect(faultsOf(change(['10.9.9.9'], credential))).toEqual([]);
});

it('tells amounts as whole numbers, whatever a cluster says', () => {
  const { cluster, vmid, kind, node } = guestRecord();
  const odd = { cpuCount: 0.5, memoryMib: Number.NaN, diskMib: 2 ** 40 };
  const rest = {
    name: 'x',
    status: 'running',
    template: false,
    tags: [],
    instanceId: undefined,
    haState: '',
    message: '',
  };
  expect(formatGuest({ cluster, vmid, kind, node, ...rest, ...odd }, '')).toMatchObject({
    cpuCount: 1,
    memoryMib: 0,
    diskMib: 2 ** 32 - 1,
  });
});

describe('an image of a cluster', () => {
  const isImage = (text: string): boolean => {
    const faults = collectFaults();
    checkImage(text, 'image', faults);
    try {
      faults.throwIfAny('x');
      return true;
    } catch {
      return false;
    }
  };
  it.each([
    'proxmox:local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst',
    `proxmox:local-zfs:import/noble.qcow2@sha256:${'a'.repeat(64)}`,
    'proxmox:template/9000',
    'proxmox:guest/105',
  ])('is %s', (text) => {
    expect(isImage(text)).toBe(true);
  });
  it.each([
    'proxmox:',
    'proxmox:local:backup/x',
    'proxmox:local:vztmpl/../x',
    'proxmox:local:vztmpl/a/b',
    'proxmox:guest/',
    'proxmox:guest/a b',
    'proxmox:guest/105,ro=1',
  ])('is not %s', (text) => {
    expect(isImage(text)).toBe(false);
  });
});
