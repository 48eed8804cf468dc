import { constants } from 'node:os';
import { DroverError } from '#shared/errors.ts';
import type { NetworkMode } from '#shared/model.ts';

interface KeyRule {
  readonly pattern: RegExp;
  readonly value: RegExp;
  readonly wanted: string;
}

const signalPattern = /^(SIG[A-Z0-9]{2,7}|SIGRTM(IN\+\d{1,2}|AX-\d{1,2})|[1-9]\d?)$/;
const signalWords = 'a signal such as "SIGPWR", "SIGRTMIN+3" or a number';

/** All that people may set; nothing in it names a file, a program or anything else of the host. */
const rules: readonly KeyRule[] = [
  { pattern: /^lxc\.pty\.max$/, value: /^[1-9]\d{0,4}$/, wanted: 'a number up to 99999' },
  { pattern: /^lxc\.tty\.max$/, value: /^\d$/, wanted: 'a number up to 9' },
  { pattern: /^lxc\.signal\.(halt|reboot|stop)$/, value: signalPattern, wanted: signalWords },
  {
    // Not rtprio: what runs in real time is held by no share and no quota of CPU, and goes before the host.
    pattern: /^lxc\.prlimit\.(?!rtprio$)[a-z]{2,12}$/,
    value: /^(\d{1,18}|unlimited)(:(\d{1,18}|unlimited))?$/,
    wanted: 'a number or "unlimited", or two with ":" between them',
  },
  {
    pattern: /^lxc\.sysctl\.net(\.[a-z0-9_-]{1,40}){1,6}$/,
    value: /^[A-Za-z0-9._-]{1,64}( [A-Za-z0-9._-]{1,64}){0,7}$/,
    wanted: 'words of letters, digits, ".", "_" and "-"',
  },
];

/** invalid-argument: a key that is not on the list, or a value that it does not take. */
export function checkLxcKeys(
  keys: Readonly<Record<string, string>>,
  network: NetworkMode,
): (readonly [string, string])[] {
  for (const [key, value] of Object.entries(keys)) {
    const refuse = (why: string): DroverError =>
      new DroverError('invalid-argument', `${JSON.stringify(key)}: ${why}`, { subject: { field: 'lxc' } });
    const rule = rules.find(({ pattern }) => pattern.test(key));
    if (rule === undefined) throw refuse('specs may not set this key of LXC');
    if (!rule.value.test(value))
      throw refuse(`wanted ${rule.wanted}, found ${JSON.stringify(value.slice(0, 80))}`);
    if (key.startsWith('lxc.sysctl.') && network === 'host')
      throw refuse("a guest on the host's network would change the host's");
  }
  return Object.entries(keys);
}

/** The number of a signal as a key names it, as Linux counts them. */
export function signalNumberOf(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  const [, from, distance] = /^SIGRTM(IN\+|AX-)(\d{1,2})$/.exec(text) ?? [];
  if (distance !== undefined) return from === 'IN+' ? 34 + Number(distance) : 64 - Number(distance);
  return (constants.signals as Readonly<Record<string, number>>)[text];
}
