import { constants } from 'node:os';
import { DroverError, type ErrorKind } from '#shared/errors.ts';

/**
 * What LXC's log says of the last run. 'began': its program was executed. 'ending': the first process has
 * ended, and how is the next line. 'rebooting': LXC is about to start it again by itself.
 */
export type LxcRun =
  | { readonly kind: 'none' | 'began' | 'ending' | 'rebooting' }
  /** Exact: LXC waits for the first process. 128 + n for signal n. */
  | { readonly kind: 'ended'; readonly code: number };

const sigint = constants.signals.SIGINT;
const sighup = constants.signals.SIGHUP;

/**
 * Recorded from 5.0.2 in test/golden/lxc-5.0.2. That its first process has exited is not said where another
 * child of LXC ended in the same moment: both signals are one then, and the devices that go tell it. An error
 * of LXC itself leaves its end unknown. The kernel ends a guest that shuts itself down with SIGINT,
 * and one that reboots with SIGHUP (pid_namespaces(7)); nothing else can, since both are ignored by a first
 * process that does not ask for them.
 */
export function readLxcRun(log: string): LxcRun {
  let run: LxcRun = { kind: 'none' };
  let isLost = false;
  for (const line of log.split('\n')) {
    if (line.includes(' start - ')) {
      if (line.includes(':post_start:') && line.includes(' - Started "')) run = { kind: 'began' };
      else if (/ - Container init process \d+ exited$/.test(line)) run = { kind: 'ending' };
      else if (line.includes(':__lxc_start:') && line.includes(' ERROR ')) isLost = true;
    } else if (line.includes(':lxc_error_set_and_log:')) run = endOf(line) ?? run;
    else if (line.includes(':lxc_delete_network:')) run = isLost ? run : endWithout(run);
    else if (line.endsWith(' - Container requested reboot')) run = { kind: 'rebooting' };
  }
  return run;
}

/** An end of which no error was told. */
const endWithout = (run: LxcRun): LxcRun =>
  run.kind === 'began' || run.kind === 'ending' ? { kind: 'ended', code: 0 } : run;

function endOf(line: string): LxcRun | undefined {
  const [, error] = / ended on error \((\d{1,3})\)$/.exec(line) ?? [];
  if (error !== undefined) return { kind: 'ended', code: Number(error) };
  const [, signal] = / ended on signal [^()]*\((\d{1,2})\)$/.exec(line) ?? [];
  if (signal === undefined) return undefined;
  if (Number(signal) === sighup) return { kind: 'rebooting' };
  return { kind: 'ended', code: Number(signal) === sigint ? 0 : 128 + Number(signal) };
}

/** lxc-start and lxc-attach exit with 1 for everything, so the words of their log decide. */
const kinds: readonly (readonly [RegExp, ErrorKind])[] = [
  [/Failed to exec "/, 'invalid-argument'],
  [/bridge interface doesn't exist|Failed to attach "[^"]*" to bridge/, 'failed-precondition'],
  [/Failed to get init pid|is not running|Failed to get attach context/, 'failed-precondition'],
  [/No space left on device|Cannot allocate memory|Too many open files/, 'resource-exhausted'],
  [/Resource temporarily unavailable/, 'resource-exhausted'],
];

/** The first error is the cause; those after it are its consequences. */
export function lxcError(tool: string, log: string, exitCode: number, id: string): DroverError {
  const errors = log
    .split('\n')
    .map((line) => / ERROR\s+\S+ - \S+:\d+ - (.*)$/.exec(line)?.[1])
    .filter((words): words is string => words !== undefined && !isConsequence(words));
  const words = errors
    .join('; ')
    .replaceAll(/\p{Cc}/gu, ' ')
    .slice(0, 1000);
  const kind = kinds.find(([pattern]) => pattern.test(words))?.[1] ?? 'internal';
  return new DroverError(kind, `${tool}: ${words || `exit ${exitCode}`}`, { subject: { instance: id } });
}

const isConsequence = (words: string): boolean =>
  /^An error occurred in another process|^Received container state|^Failed to spawn container/.test(words);
