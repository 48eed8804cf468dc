import type { HostCommands } from '../host/command.ts';
import { once } from './once.ts';
import { openSeccomp, type Seccomp } from './seccomp.ts';

const versionTimeoutMs = 20_000;

/**
 * The filter of system calls for a set of capabilities: which are open depends on them, and most guests have
 * the same.
 */
export function crunFilters(
  commands: HostCommands,
  options: { readonly runtime: string; readonly profileFile: string; readonly cacheDir: string },
): (capabilities: readonly string[]) => Promise<Seccomp> {
  const filters = new Map<string, () => Promise<Seccomp>>();

  async function open(capabilities: readonly string[]): Promise<Seccomp> {
    const { runtime, profileFile, cacheDir } = options;
    const { stdout } = await commands.run(runtime, ['--version'], { timeoutMs: versionTimeoutMs });
    return openSeccomp({ profileFile, cacheDir, capabilities, version: stdout });
  }

  return (capabilities) => {
    const key = capabilities.join(' ');
    const opened = filters.get(key) ?? once(() => open(capabilities));
    filters.set(key, opened);
    return opened();
  };
}
