import { styleText } from 'node:util';

/** Where words go. Standard output holds results alone; everything else goes to standard error. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  /** A person sits at standard output / standard error / standard input. */
  readonly outIsTty: boolean;
  readonly errIsTty: boolean;
  readonly inIsTty: boolean;
  /** One line of a result. */
  print(line: string): void;
  /** Bytes of a guest, as they are. */
  write(data: Uint8Array, to: 'stdout' | 'stderr'): Promise<void>;
  /** One line about what goes on; nothing with --quiet. What comes from the fleet is escaped. */
  note(line: string): void;
  /** One line of an error; never silenced. */
  complain(line: string): void;
  /** For standard error: results have no colours. */
  style(format: 'bold' | 'dim' | 'red' | 'green' | 'yellow', text: string): string;
}

export function createTerminal(options: {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly quiet: boolean;
  readonly color: 'auto' | 'always' | 'never';
}): Terminal {
  const { stdin, stdout, stderr, quiet, color } = options;
  const style: Terminal['style'] = (format, text) => {
    if (color === 'never') return text;
    return styleText(format, text, { validateStream: color === 'auto', stream: stderr });
  };
  return {
    stdin,
    outIsTty: stdout.isTTY === true,
    errIsTty: stderr.isTTY === true,
    inIsTty: stdin.isTTY === true,
    print: (line) => void stdout.write(`${line}\n`),
    write: (data, to) => {
      const stream = to === 'stdout' ? stdout : stderr;
      return new Promise((resolve) => {
        if (stream.write(data)) resolve();
        else stream.once('drain', resolve);
      });
    },
    note: (line) => {
      if (!quiet) stderr.write(`${escapeControls(line)}\n`);
    },
    complain: (line) => void stderr.write(`${line}\n`),
    style,
  };
}

/** Control characters of a guest or a peer, made visible: they must not move the cursor or forge a line. */
export function escapeControls(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (found) => {
    const code = found.codePointAt(0) ?? 0;
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}
