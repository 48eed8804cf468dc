/** Puts a crun that misbehaves in the place of the host's own, as one simulated host alone sees it. */
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import path from 'node:path';
import type { FleetHost } from '../../scripts/fleet.ts';

export interface FaultyCrun {
  /** From now on it behaves. */
  cure(): void;
  /** Gives the host its own crun back. */
  remove(): Promise<void>;
}

const installed = '/usr/bin/crun';

/**
 * How it behaves is in the guest's own environment: `SHIM=create-hang` and so on, of create, start and
 * delete. hang: for ever. late: it does the work, and then says that it failed. garbage: megabytes of
 * noise and no work. Guests without it notice nothing.
 */
export async function installFaultyCrun(host: FleetHost): Promise<FaultyCrun> {
  const folder = path.join(host.host.folder, 'faulty-crun');
  mkdirSync(folder, { recursive: true });
  const real = path.join(folder, 'real-crun');
  const shim = path.join(folder, 'crun');
  const cured = path.join(folder, 'cured');
  rmSync(cured, { force: true });
  copyFileSync(installed, real);
  writeFileSync(shim, script(real, cured, path.join(host.stateDir, 'guests')));
  for (const file of [real, shim]) chmodSync(file, 0o755);
  await run(host, ['mount', '--bind', shim, installed]);
  return {
    cure: () => writeFileSync(cured, ''),
    remove: () => run(host, ['umount', '-l', installed]),
  };
}

const script = (real: string, cured: string, guests: string): string => `#!/bin/sh
for word; do
  case "$word" in create|start|delete) [ -n "$command" ] || command=$word;; esac
  id=$word
done
[ -e '${cured}' ] || mode=$(sed -n 's/.*"SHIM=\\([a-z-]*\\)".*/\\1/p' "${guests}/$id/config.json" 2>/dev/null)
case "$mode" in
  "$command-hang") while true; do sleep 0.2; done;;
  "$command-late") '${real}' "$@"; echo '{"msg":"the reply was lost","level":"error"}' >&2; exit 1;;
  "$command-garbage") head -c 6000000 /dev/urandom >&2; exit 1;;
  *) exec '${real}' "$@";;
esac
`;

async function run(host: FleetHost, command: readonly string[]): Promise<void> {
  const [code] = (await once(host.host.spawn(command), 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${command.join(' ')} on ${host.name}: exit ${code}`);
}
