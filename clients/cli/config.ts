import os from 'node:os';
import path from 'node:path';

/** What the environment says, read once. */
export interface Environment {
  /** Contexts, one file each. */
  readonly contextsDir: string;
  /** The name of the context in use. */
  readonly currentFile: string;
  /** Names for completion; may be deleted at any time. */
  readonly cacheDir: string;
  /** DROVER_CONTEXT: overrides the one in use. */
  readonly context: string | undefined;
  readonly color: 'auto' | 'always' | 'never';
}

/** XDG directories; NO_COLOR and FORCE_COLOR as everybody reads them. */
export function readEnvironment(): Environment {
  const { env } = process;
  const home = os.homedir();
  const config = path.join(env['XDG_CONFIG_HOME'] || path.join(home, '.config'), 'drover');
  const cache = path.join(env['XDG_CACHE_HOME'] || path.join(home, '.cache'), 'drover');
  return {
    contextsDir: path.join(config, 'contexts'),
    currentFile: path.join(config, 'current-context'),
    cacheDir: cache,
    context: env['DROVER_CONTEXT'] || undefined,
    color: env['NO_COLOR'] ? 'never' : env['FORCE_COLOR'] ? 'always' : 'auto',
  };
}
