import type { InstanceId, InstanceState } from '#shared/model.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import type { Changes } from './changes.ts';

/**
 * A driver's following ends with the run of the guest; this one goes on with the next, until none can come.
 */
export async function* followLogs(
  id: InstanceId,
  options: LogOptions,
  source: {
    readonly open: (options: LogOptions) => AsyncIterable<LogLine>;
    readonly state: () => InstanceState | undefined;
    readonly changes: Changes;
  },
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  let lastNs = -1n;
  let wanted = options;
  while (!signal.aborted) {
    const runBefore = source.state()?.startedAtMs ?? 0;
    // Lines of one moment share a time, so only what an earlier run has given is left out.
    const givenNs = lastNs;
    for await (const line of source.open(wanted)) {
      if (line.atNs <= givenNs) continue;
      yield line;
      lastNs = line.atNs;
    }
    if (!(await runsAgain(id, runBefore, source.changes, signal))) return;
    wanted = {
      ...options,
      tail: undefined,
      sinceMs: lastNs < 0n ? options.sinceMs : Number(lastNs / 1_000_000n),
    };
  }
}

/** False when it ended for good or was removed. */
async function runsAgain(
  id: InstanceId,
  runBefore: number,
  changes: Changes,
  signal: AbortSignal,
): Promise<boolean> {
  let seen = false;
  for await (const event of changes.watch({ incarnation: '', sequence: 0 }, signal)) {
    if (event.kind === 'bookmark' && !seen) return false;
    if (event.kind === 'removed' && event.id === id) return false;
    if (event.kind !== 'changed' || event.state.instanceId !== id) continue;
    seen = true;
    const { phase, startedAtMs } = event.state;
    if (phase === 'exited' || phase === 'stopped') return false;
    if (phase === 'running' && startedAtMs !== runBefore && startedAtMs > 0) return true;
  }
  return false;
}
