/** What flows out of and into a running instance: lines of output, and the two directions of an exec. */

import type { ExitStatus } from '#shared/model.ts';

/** One line, or a piece of one, of an instance's output. */
export interface LogLine {
  /** Nanoseconds since 1970 UTC. */
  readonly atNs: bigint;
  readonly stream: 'stdout' | 'stderr';
  readonly content: Uint8Array;
  readonly partial: boolean;
}

export interface LogOptions {
  /** Undefined: from the beginning. */
  readonly tail: number | undefined;
  /** Zero: from the first that is kept. */
  readonly sinceMs: number;
  readonly follow: boolean;
  /** Undefined: both. */
  readonly stream: 'stdout' | 'stderr' | undefined;
}

export interface ExecStart {
  /** Full id on the agent's side, id or display name on the fleet's. */
  readonly instance: string;
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly size: TerminalSize;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDir: string;
  readonly project: string;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export type ExecInput =
  | { readonly kind: 'stdin'; readonly data: Uint8Array }
  | { readonly kind: 'stdin-end' }
  | { readonly kind: 'resize'; readonly size: TerminalSize }
  | { readonly kind: 'signal'; readonly signal: number };

export type ExecOutput =
  | { readonly kind: 'started'; readonly execId: string }
  | { readonly kind: 'stdout'; readonly data: Uint8Array }
  | { readonly kind: 'stderr'; readonly data: Uint8Array }
  | { readonly kind: 'exit'; readonly exit: ExitStatus };
