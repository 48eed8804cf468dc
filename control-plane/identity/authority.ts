import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import {
  type Certificate,
  createAuthority,
  createKey,
  type Identity,
  issueCertificate,
  type KeyedCertificate,
  parseCertificate,
  publicKeyPin,
} from '#shared/tls.ts';

const dayMs = 24 * 60 * 60 * 1000;
export const certificateLife = {
  authorityMs: 3650 * dayMs,
  serverMs: 365 * dayMs,
  personMs: 365 * dayMs,
  nodeMs: 30 * dayMs,
} as const;

/** Signs for one fleet. The private key never leaves it. */
export interface Authority {
  readonly fleetId: string;
  readonly certificate: Certificate;
  /** What join tokens carry. */
  readonly pin: string;
  /** invalid-argument: not a request, or for a key that we do not sign. */
  issue(identity: Omit<Identity, 'fleetId'>, csr: Uint8Array): Promise<Certificate>;
  /** With a key of its own, for whoever has no place to make one. */
  issueWithKey(identity: Omit<Identity, 'fleetId'>, hosts?: readonly string[]): Promise<KeyedCertificate>;
}

/**
 * Reads the authority of a state directory, or makes it at the first start. The key is readable for us
 * alone.
 */
export async function openAuthority(options: {
  readonly stateDir: string;
  readonly fleetId: string;
  readonly clock: Clock;
}): Promise<Authority> {
  const { fleetId, clock } = options;
  const own = await readOrMake(path.join(options.stateDir, 'ca'), fleetId, clock);
  const issueFor = (
    identity: Omit<Identity, 'fleetId'>,
    subject: Parameters<typeof issueCertificate>[0]['subject'],
    hosts: readonly string[] = [],
  ): Promise<Certificate> =>
    issueCertificate({
      authority: own,
      subject,
      identity: { fleetId, ...identity },
      hosts,
      nowMs: clock.nowMs(),
      lifeMs: lifeMsOf(identity.role),
    });
  return {
    fleetId,
    certificate: own.certificate,
    pin: publicKeyPin(own.certificate.pem),
    issue: (identity, csr) => issueFor(identity, csr),
    async issueWithKey(identity, hosts) {
      const key = await createKey();
      return { certificate: await issueFor(identity, key, hosts), keyPem: key.keyPem };
    },
  };
}

function lifeMsOf(role: Identity['role']): number {
  if (role === 'node') return certificateLife.nodeMs;
  return role === 'control-plane' ? certificateLife.serverMs : certificateLife.personMs;
}

async function readOrMake(folder: string, fleetId: string, clock: Clock): Promise<KeyedCertificate> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const certificateFile = path.join(folder, 'ca.pem');
  const keyFile = path.join(folder, 'ca-key.pem');
  const pem = await readIfThere(certificateFile);
  if (pem !== undefined) {
    const keyPem = await readIfThere(keyFile);
    if (keyPem !== undefined) return { certificate: parseCertificate(pem), keyPem };
    throw new DroverError('data-loss', `${certificateFile} is there, but its key ${keyFile} is not`, {
      nextStep: 'restore the whole state directory from a backup',
    });
  }
  const commonName = `Drover fleet ${fleetId}`;
  const made = await createAuthority({
    commonName,
    nowMs: clock.nowMs(),
    lifeMs: certificateLife.authorityMs,
  });
  // The certificate last: it is the mark that both are there.
  await writePrivateFile(keyFile, made.keyPem);
  await writePrivateFile(certificateFile, made.certificate.pem);
  return made;
}

export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, and durable; 0600. */
export async function writePrivateFile(file: string, text: string): Promise<void> {
  const draft = `${file}.new`;
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}
