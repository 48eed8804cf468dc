import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError, type ErrorKind } from '#shared/errors.ts';
import type { CommandResult, HostCommands } from '../host/command.ts';
import { checkDigest } from './manifest.ts';
import type { ImageOrigin } from './origin.ts';
import type { RegistryReference } from './reference.ts';

export interface RegistryOptions {
  readonly run: HostCommands['run'];
  readonly clock: Clock;
  /** Holds <name>.json, each an auth file of mode 0600; default.json where no name is given. */
  readonly credentialsDir: string;
  /** Hosts that may be asked without TLS: "127.0.0.1:5000", or "127.0.0.1" for all its ports. */
  readonly insecureRegistries: readonly string[];
  /** Our own signature policy. */
  readonly policyFile: string;
  /** For skopeo's temporary files. */
  readonly temporaryDir: string;
}

const inspectMs = 60_000;
const copyMs = 60 * 60_000;
/** For skopeo to end by itself and say why. */
const graceMs = 5_000;

/** An image in a registry, read with skopeo. */
export async function registryOrigin(
  options: RegistryOptions,
  reference: RegistryReference,
  credential: string,
): Promise<ImageOrigin> {
  const { registry, repository, tag } = reference;
  const repositoryUrl = `docker://${registry}/${repository}`;
  const authFile = await findAuthFile(options.credentialsDir, credential);
  const isInsecure = options.insecureRegistries.some(
    (host) => host === registry || host === registry.replace(/:\d+$/, ''),
  );
  const access = (prefix: string): string[] => [
    `--${prefix}tls-verify=${!isInsecure}`,
    ...(authFile === undefined ? [`--${prefix}no-creds`] : [`--${prefix}authfile=${authFile}`]),
  ];

  async function skopeo(
    command: string,
    args: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<string> {
    const common = [
      `--command-timeout=${Math.ceil(timeoutMs / 1000)}s`,
      `--policy=${options.policyFile}`,
      `--tmpdir=${options.temporaryDir}`,
    ];
    const result = await options.run('skopeo', [...common, command, ...args], {
      signal,
      timeoutMs: timeoutMs + graceMs,
    });
    if (result.exitCode !== 0) throw skopeoError(result, `${registry}/${repository}`);
    return result.stdout;
  }

  return {
    async readManifest(digest, signal) {
      const url = digest === undefined ? `${repositoryUrl}:${tag}` : `${repositoryUrl}@${digest}`;
      const raw = await skopeo('inspect', ['--raw', ...access(''), url], inspectMs, signal);
      if (digest !== undefined) checkDigest(raw, digest);
      return raw;
    },
    async readConfig(digest, manifest, signal) {
      const url = `${repositoryUrl}@${digest}`;
      const raw = await skopeo('inspect', ['--config', '--raw', ...access(''), url], inspectMs, signal);
      checkDigest(raw, manifest.config.digest);
      return raw;
    },
    async copy({ digest }, layout, signal) {
      const url = `${repositoryUrl}@${digest}`;
      const kept = ['--quiet', '--dest-oci-accept-uncompressed-layers'];
      await skopeo('copy', [...kept, ...access('src-'), url, `oci:${layout}:image`], copyMs, signal);
    },
  };
}

/** Undefined: nobody in particular. */
async function findAuthFile(directory: string, credential: string): Promise<string | undefined> {
  if (!/^[a-z0-9-]{0,63}$/.test(credential)) {
    throw new DroverError('invalid-argument', 'the name of a credential is made of a-z, 0-9 and -');
  }
  const name = credential === '' ? 'default' : credential;
  const file = path.join(directory, `${name}.json`);
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined && credential === '') return undefined;
  if (found === undefined) {
    throw new DroverError('permission-denied', `this node has no credential "${name}"`, {
      nextStep: `write a container auth file to ${file}, mode 0600`,
    });
  }
  if ((found.mode & 0o077) !== 0) {
    throw new DroverError('permission-denied', `others can read the credential "${name}"`, {
      nextStep: `chmod 600 ${file}`,
    });
  }
  return file;
}

/**
 * skopeo exits 1 for everything, so its words decide. Recorded from skopeo 1.9.3. The first that fits
 * counts.
 */
const kindOfWords: readonly (readonly [RegExp, ErrorKind])[] = [
  [/did not match|does not match|digest mismatch|unexpected EOF while reading blob/i, 'data-loss'],
  [/no space left|disk quota exceeded/i, 'resource-exhausted'],
  [/manifest unknown|name unknown|repository name not known|not found|404/i, 'not-found'],
  [/unauthorized|authentication required|denied|forbidden|invalid username/i, 'permission-denied'],
  [/deadline exceeded/i, 'deadline-exceeded'],
  [/invalid reference format|unsupported|unknown manifest|unmarshal|invalid character/i, 'invalid-argument'],
  [/toomanyrequests|too many requests|http status: 5|refused|no such host|timeout/i, 'unavailable'],
  [/http response to https|x509|certificate|reset by peer|eof|unreachable|pinging/i, 'unavailable'],
];

export function skopeoError({ stderr, exitCode }: CommandResult, image: string): DroverError {
  const quoted = [...stderr.matchAll(/level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"/g)].at(-1)?.[1];
  const words = (quoted?.replaceAll('\\"', '"') ?? stderr.trim()).slice(0, 500) || `exit ${exitCode}`;
  const kind = kindOfWords.find(([pattern]) => pattern.test(words))?.[1] ?? 'internal';
  const isPlain = /server gave HTTP response to HTTPS client/.test(words);
  return new DroverError(kind, `skopeo: ${printable(words)}`, {
    subject: { image },
    ...(isPlain && { nextStep: "use TLS, or list the registry among the agent's insecure ones" }),
  });
}

/** A registry's words reach terminals. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, '?');
