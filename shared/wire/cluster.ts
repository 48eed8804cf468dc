import { DroverError } from '#shared/errors.ts';
import type {
  Adoption as WireAdoption,
  Cluster as WireCluster,
  ClusterCredential as WireCredential,
  ClusterStatus as WireStatus,
  ClusterTrust as WireTrust,
  Guest as WireGuest,
} from '#shared/gen/drover/fleet/v1/cluster.ts';
import type {
  Cluster,
  ClusterCredential,
  ClusterGuestView,
  ClusterSpec,
  ClusterStatus,
  ClusterTrust,
} from '#shared/model.ts';
import { type Faults, atMost, checkName, collectFaults, parseOne, show } from '#shared/wire/checks.ts';
import { formatMetadata } from '#shared/wire/workload.ts';

export const clusterLimits = {
  nameCharacters: 20,
  endpoints: 32,
  fingerprints: 64,
  pemBytes: 64 * 1024,
} as const;

const defaultPort = 8006;
const hostLabel = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const endpoint = new RegExp(
  `^(?<host>${hostLabel}(?:\\.${hostLabel}){0,10}|\\[[0-9a-fA-F:]{2,39}\\])(?::(?<port>[0-9]{1,5}))?$`,
);
const pem = /^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----$/;
const identity = /^[^\s:/!\p{Cc}\p{Cf}]{1,64}@[A-Za-z][A-Za-z0-9._-]{1,31}$/u;
const tokenName = /^[A-Za-z][A-Za-z0-9._-]{1,63}$/;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** It stands in front of the names of its nodes: with both, they must be names still. */
export function checkClusterName(text: string, field: string, faults: Faults): string {
  checkName(text, field, faults);
  if (text.length > clusterLimits.nameCharacters)
    faults.add(
      field,
      `is too long: names of nodes begin with it; at most ${clusterLimits.nameCharacters} characters`,
    );
  return text;
}

/** invalid-argument. */
export const parseClusterName = (text: string): string =>
  parseOne('cluster name', (faults) => checkName(text, 'cluster', faults));

/** "host:port", with the port that is usual where none is named. */
export function checkEndpoint(text: string, field: string, faults: Faults): string {
  const { host, port = `${defaultPort}` } = endpoint.exec(text)?.groups ?? {};
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) {
    faults.add(field, `${show(text)} is not an address; wanted such as "10.0.0.11:8006" or "[fd00::11]"`);
    return text;
  }
  return `${host.toLowerCase()}:${Number(port)}`;
}

/** invalid-argument. */
export const parseEndpoint = (text: string): string =>
  parseOne('endpoint', (faults) => checkEndpoint(text, 'endpoint', faults));

function checkEndpoints(texts: readonly string[], faults: Faults): string[] {
  atMost(texts, clusterLimits.endpoints, 'endpoints', faults);
  const some = texts.slice(0, clusterLimits.endpoints);
  return [...new Set(some.map((text, place) => checkEndpoint(text, `endpoints[${place}]`, faults)))];
}

/** Upper-case digits with colons, however they were written. */
export function checkFingerprint(text: string, field: string, faults: Faults): string {
  const digits = text.length > 120 ? '' : text.slice(text.lastIndexOf('=') + 1).replaceAll(':', '');
  if (!/^[0-9a-f]{64}$/i.test(digits))
    faults.add(field, `${show(text)} is not a SHA-256 fingerprint; wanted 64 hexadecimal digits`);
  return (digits.toUpperCase().match(/../g) ?? []).join(':');
}

function checkTrust(message: WireTrust | undefined, faults: Faults): ClusterTrust | undefined {
  const { authorityPem = '', fingerprints = [] } = message ?? {};
  if ((authorityPem === '') === (fingerprints.length === 0)) {
    const found = authorityPem === '' ? 'is empty' : 'has both';
    faults.add('trust', `${found}; wanted an authority or fingerprints of certificates`);
    return undefined;
  }
  if (authorityPem === '') {
    atMost(fingerprints, clusterLimits.fingerprints, 'trust.fingerprints', faults);
    const some = fingerprints.slice(0, clusterLimits.fingerprints);
    const sha256 = some.map((one, place) => checkFingerprint(one, `trust.fingerprints[${place}]`, faults));
    return { kind: 'fingerprints', sha256: [...new Set(sha256)] };
  }
  return { kind: 'authority', pem: checkPem(authorityPem, faults) };
}

/** Of several certificates each; whatever stands between them is left out. */
function checkPem(text: string, faults: Faults): string {
  const wanted = 'wanted one to ten certificates in PEM, such as /etc/pve/pve-root-ca.pem';
  if (text.length > clusterLimits.pemBytes) {
    faults.add('trust.authorityPem', `is ${text.length} characters long; ${wanted}`);
    return '';
  }
  const end = '-----END CERTIFICATE-----';
  const parts = text.replaceAll('\r', '').split(end).slice(0, -1);
  const certificates = parts.map((part) => {
    const start = part.lastIndexOf('-----BEGIN CERTIFICATE-----');
    return start < 0 ? '' : `${part.slice(start)}${end}`;
  });
  if (certificates.length < 1 || certificates.length > 10 || !certificates.every((one) => pem.test(one)))
    faults.add('trust.authorityPem', `is no certificate; ${wanted}`);
  return `${certificates.join('\n')}\n`;
}

/** What is wrong is said without what was given: a secret may stand in any of the fields. */
function checkCredential(message: WireCredential | undefined, faults: Faults): ClusterCredential | undefined {
  const { tokenId = '', tokenSecret = '', user = '', password = '' } = message ?? {};
  const isToken = tokenId !== '' || tokenSecret !== '';
  const isPassword = user !== '' || password !== '';
  if (isToken === isPassword) {
    faults.add(
      'credential',
      `${isToken ? 'has both' : 'is empty'}; wanted a token, or a user with a password`,
    );
    return undefined;
  }
  if (isToken) {
    const [who = '', name = '', ...rest] = tokenId.split('!');
    if (!identity.test(who) || !tokenName.test(name) || rest.length > 0)
      faults.add('credential.tokenId', 'is not a token; wanted USER@REALM!TOKEN, such as drover@pve!fleet');
    if (!uuid.test(tokenSecret))
      faults.add('credential.tokenSecret', 'is not a secret of a token; wanted a UUID, as it was shown once');
    return { kind: 'token', tokenId, secret: tokenSecret.toLowerCase() };
  }
  if (!identity.test(user))
    faults.add('credential.user', 'is not a user; wanted USER@REALM, such as drover@pve');
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  if (password === '' || password.length > 1024 || /[\u0000-\u001f\u007f]/.test(password))
    faults.add('credential.password', 'is not a password; wanted 1 to 1024 characters on one line');
  return { kind: 'password', user, password };
}

/** A new cluster. invalid-argument with every fault, and with no secret. */
export function parseClusterSpec(message: {
  readonly endpoints: readonly string[];
  readonly trust: WireTrust | undefined;
  readonly credential: WireCredential | undefined;
}): ClusterSpec {
  const faults = collectFaults();
  if (message.endpoints.length === 0) faults.add('endpoints', 'is empty; wanted at least one address');
  const endpoints = checkEndpoints(message.endpoints, faults);
  const trust = checkTrust(message.trust, faults);
  const credential = checkCredential(message.credential, faults);
  faults.throwIfAny('cluster');
  if (trust === undefined || credential === undefined)
    throw new DroverError('internal', 'a fault was found and not told');
  return { endpoints, trust, credential };
}

/** The cluster with what changes; what is left out stays. invalid-argument as parseClusterSpec. */
export function parseClusterChange(
  before: ClusterSpec,
  message: {
    readonly endpoints: readonly string[];
    readonly trust: WireTrust | undefined;
    readonly credential: WireCredential | undefined;
  },
): ClusterSpec {
  const faults = collectFaults();
  const isNothing =
    message.endpoints.length === 0 && message.trust === undefined && message.credential === undefined;
  if (isNothing) faults.add('cluster', 'nothing is to change; wanted endpoints, trust or credential');
  // Whoever is named as the cluster would be sent what is kept for it.
  const isElsewhere = message.endpoints.length > 0 && message.trust !== undefined;
  if (isElsewhere && message.credential === undefined)
    faults.add('credential', 'other endpoints and another trust want the credential again');
  const endpoints =
    message.endpoints.length === 0 ? before.endpoints : checkEndpoints(message.endpoints, faults);
  const trust = message.trust === undefined ? before.trust : checkTrust(message.trust, faults);
  const credential =
    message.credential === undefined ? before.credential : checkCredential(message.credential, faults);
  faults.throwIfAny('cluster');
  return { endpoints, trust: trust ?? before.trust, credential: credential ?? before.credential };
}

/** Zero where none is meant. invalid-argument. */
export function parseVmid(vmid: number): number {
  if (vmid === 0 || (vmid >= 100 && vmid <= 999_999_999)) return vmid;
  throw new DroverError('invalid-argument', `${vmid} is not the number of a guest; wanted 100 to 999999999`, {
    subject: { field: 'vmid' },
  });
}

export const formatCluster = (
  { metadata, spec }: Cluster,
  status: ClusterStatus | undefined,
): WireCluster => ({
  metadata: formatMetadata(metadata),
  endpoints: [...spec.endpoints],
  trust: spec.trust.kind,
  fingerprints: spec.trust.kind === 'fingerprints' ? [...spec.trust.sha256] : [],
  identity: spec.credential.kind === 'token' ? spec.credential.tokenId : spec.credential.user,
  status: status === undefined ? undefined : formatClusterStatus(status),
});

export const formatClusterStatus = (status: ClusterStatus): WireStatus => ({
  clusterName: status.clusterName,
  version: status.version,
  connected: status.connected,
  quorate: status.quorate,
  endpoints: status.endpoints.map(({ address, problem }) => ({ address, problem })),
  nodes: [...status.nodes],
  guests: status.guests,
  ownGuests: status.ownGuests,
  lastSeenAtMs: BigInt(Math.round(status.lastSeenAtMs)),
  message: status.message,
  rights: status.rights.map(({ privilege, path, granted, neededFor, optional }) => ({
    privilege,
    path,
    granted,
    neededFor,
    optional,
  })),
});

/** `instance`: as people call the one that it is; empty: none. */
export const formatGuest = (guest: ClusterGuestView, instance: string): WireGuest => ({
  cluster: guest.cluster,
  vmid: guest.vmid,
  kind: guest.kind,
  name: guest.name,
  node: guest.node,
  status: guest.status,
  template: guest.template,
  tags: [...guest.tags],
  cpuCount: count(guest.cpuCount),
  memoryMib: count(guest.memoryMib),
  diskMib: count(guest.diskMib),
  instance,
  haState: guest.haState,
  message: guest.message,
});

/** A cluster may say "0.5 cores"; what the wire takes is a whole number. */
const count = (amount: number): number => Math.min(Math.max(0, Math.round(amount) || 0), 0xffff_ffff);

export const formatAdoption = (
  guest: WireGuest,
  adoption: Partial<Omit<WireAdoption, 'guest'>>,
): WireAdoption => ({
  guest,
  adopted: false,
  document: undefined,
  instance: '',
  notes: [],
  skipped: '',
  errorKind: '',
  ...adoption,
});
