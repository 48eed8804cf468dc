/** The few commands that the system in a machine knows, enough to see output, exit codes and input. */

export interface Surroundings {
  readonly files: Map<string, string>;
  readonly hostname: string;
  readonly input: string;
}

export interface Ended {
  readonly out: string;
  readonly err: string;
  readonly exitCode: number;
  readonly takesMs: number;
}

const ended = (out: string, exitCode = 0, err = '', takesMs = 50): Ended => ({ out, err, exitCode, takesMs });

/** Runs one command by its words; `sh -c` runs a few of them, parted by semicolons. */
export function runCommand(words: readonly string[], around: Surroundings): Ended {
  const [name = '', ...rest] = words;
  const base = name.slice(name.lastIndexOf('/') + 1);
  if ((base === 'sh' || base === 'bash') && rest[0] === '-c') return runScript(rest[1] ?? '', around);
  if (base === 'true') return ended('');
  if (base === 'false') return ended('', 1);
  if (base === 'echo') return ended(`${rest.join(' ')}\n`);
  if (base === 'printf') return ended(rest[0] ?? '');
  if (base === 'hostname') return ended(`${around.hostname}\n`);
  if (base === 'id') return ended(rest[0] === '-u' ? '0\n' : 'uid=0(root) gid=0(root)\n');
  if (base === 'uname') return ended('Linux\n');
  if (base === 'uptime') return ended(' 12:00:00 up 1 min,  0 users,  load average: 0.00, 0.00, 0.00\n');
  if (base === 'sleep') return ended('', 0, '', Number(rest[0] ?? 1) * 1000);
  if (base === 'exit') return ended('', Number(rest[0] ?? 0));
  if (base === 'cat') return cat(rest, around);
  if (base === 'ls') return ended([...around.files.keys()].join('\n'));
  return ended('', 127, `sh: ${name}: not found\n`);
}

function cat(names: readonly string[], { files, input }: Surroundings): Ended {
  if (names.length === 0) return ended(input);
  const missing = names.find((name) => !files.has(name));
  if (missing !== undefined) return ended('', 1, `cat: can't open '${missing}': No such file or directory\n`);
  return ended(names.map((name) => files.get(name)).join(''));
}

function runScript(script: string, around: Surroundings): Ended {
  let whole = ended('', 0, '', 0);
  for (const part of script.split(';').map((one) => one.trim())) {
    if (part === '') continue;
    const toError = / ?1?>&2$/.test(part);
    const words = wordsOf(part.replace(/ ?1?>&2$/, ''));
    const one = runCommand(words, around);
    const takesMs = whole.takesMs + one.takesMs;
    const out = whole.out + (toError ? '' : one.out);
    whole = ended(out, one.exitCode, whole.err + one.err + (toError ? one.out : ''), takesMs);
    if (words[0] === 'exit') return whole;
  }
  return whole;
}

/** By blanks; quotes keep them together. */
function wordsOf(text: string): string[] {
  const words = text.match(/'[^']*'|"[^"]*"|[^\s'"]+/g) ?? [];
  return words.map((word) => (/^['"]/.test(word) ? word.slice(1, -1) : word));
}
