import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';

/** The part of the OCI runtime configuration that goes to `linux.seccomp`. */
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly object[];
}

interface ContainersRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly object[] | null;
  readonly errnoRet?: number;
  readonly includes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
  readonly excludes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
}

interface ContainersProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly archMap?: readonly {
    readonly architecture: string;
    readonly subArchitectures: readonly string[];
  }[];
  readonly syscalls: readonly ContainersRule[];
}

const nativeArchitecture: Readonly<Record<string, { readonly go: string; readonly scmp: string }>> = {
  x64: { go: 'amd64', scmp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', scmp: 'SCMP_ARCH_AARCH64' },
};

/**
 * Turns the profile format of containers-common into OCI's: rules for other capabilities and architectures
 * fall away. Source: seccomp.json of github.com/containers/common, config-linux.md of the OCI runtime
 * specification.
 */
function ociSeccomp(text: string, capabilities: readonly string[], arch: string): SeccompProfile {
  const profile = JSON.parse(text) as ContainersProfile;
  const native = nativeArchitecture[arch] ?? { go: arch, scmp: '' };
  const holds = (wanted: readonly string[] | undefined, have: readonly string[]): boolean =>
    (wanted ?? []).some((item) => have.includes(item));
  const applies = ({ includes, excludes }: ContainersRule): boolean =>
    (includes?.arches === undefined || holds(includes.arches, [native.go])) &&
    (includes?.caps === undefined || holds(includes.caps, capabilities)) &&
    !holds(excludes?.arches, [native.go]) &&
    !holds(excludes?.caps, capabilities);
  const family = profile.archMap?.find(({ architecture }) => architecture === native.scmp);
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: [native.scmp, ...(family?.subArchitectures ?? [])].filter((name) => name !== ''),
    syscalls: profile.syscalls.filter(applies).map(({ names, action, args, errnoRet }) => ({
      names,
      action,
      ...(args?.length ? { args } : {}),
      ...(errnoRet === undefined ? {} : { errnoRet }),
    })),
  };
}

/** A profile and, once crun has compiled it, the filter that spares 17 ms of every create. */
export interface Seccomp {
  readonly profile: SeccompProfile;
  /** Base64 for the annotation run.oci.seccomp_bpf_data; undefined until the first create on this node. */
  compiled(): Promise<string | undefined>;
  /** Keeps what crun left in a guest's state directory. */
  keep(compiledFile: string): Promise<void>;
}

/** `version` is crun's: another one may compile the same profile otherwise. */
export async function openSeccomp(options: {
  readonly profileFile: string;
  readonly cacheDir: string;
  readonly capabilities: readonly string[];
  readonly version: string;
}): Promise<Seccomp> {
  const { profileFile, cacheDir, capabilities, version } = options;
  const text = await readFile(profileFile, 'utf8').catch((cause: unknown) => {
    const nextStep = 'apt-get install golang-github-containers-common';
    throw new DroverError('unavailable', `no seccomp profile at ${profileFile}`, { nextStep, cause });
  });
  const profile = ociSeccomp(text, capabilities, process.arch);
  const key = createHash('sha256')
    .update(JSON.stringify([profile, version]))
    .digest('hex')
    .slice(0, 32);
  const file = path.join(cacheDir, `${key}.bpf`);
  let cached: string | undefined;
  let keeping: Promise<void> | undefined;
  async function copy(compiledFile: string): Promise<void> {
    const filter = await readFile(compiledFile).catch(() => undefined);
    if (filter === undefined || encodeFilter(filter) === undefined) return;
    await mkdir(cacheDir, { recursive: true, mode: 0o700 });
    await writeFile(`${file}.new`, filter, { mode: 0o600 });
    await rename(`${file}.new`, file);
  }
  return {
    profile,
    async compiled() {
      cached ??= await readFile(file).then(encodeFilter, () => undefined);
      return cached;
    },
    async keep(compiledFile) {
      // First creates run side by side, and all of them bring the same.
      keeping ??= copy(compiledFile).finally(() => (keeping = undefined));
      await keeping;
    },
  };
}

/** A filter is whole instructions of eight bytes; half a file is none. */
const encodeFilter = (filter: Buffer): string | undefined =>
  filter.length > 0 && filter.length % 8 === 0 ? filter.toString('base64') : undefined;
