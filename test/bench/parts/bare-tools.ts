/** Host tools, as a program that does nothing else spawns them. */
import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { BareAnswer } from './instance-turns.ts';

export interface BareTools {
  /** Throws with the tool's words. */
  run(tool: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<void>;
  begin(
    tool: string,
    args: readonly string[],
    stdio: StdioOptions,
    env: Readonly<Record<string, string>>,
  ): ChildProcess;
  readonly spawns: Readonly<Record<string, number>>;
}

const baseEnv = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  HOME: '/root',
};

export function openBareTools(): BareTools {
  const spawns: Record<string, number> = {};
  const begin: BareTools['begin'] = (tool, args, stdio, more) => {
    spawns[tool] = (spawns[tool] ?? 0) + 1;
    return spawn(tool, args, { env: { ...baseEnv, ...more }, cwd: '/', detached: true, stdio });
  };
  return {
    spawns,
    begin,
    async run(tool, args, env = {}) {
      const child = begin(tool, args, ['ignore', 'pipe', 'pipe'], env);
      const words: Buffer[] = [];
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => words.push(chunk));
      const [code] = (await once(child, 'close')) as [number | null];
      if (code !== 0) throw new Error(`${tool} ${args.join(' ')}: ${Buffer.concat(words).toString()}`);
    },
  };
}

/** What the parent has written down. */
export const readSampleFile = <Sample>(): Sample =>
  JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Sample;

/** Answers a number with the time of so many lives at once. */
export function serveLives({ spawns }: BareTools, live: (place: number) => Promise<void>): void {
  let lives = 0;
  async function measure(parallel: number): Promise<BareAnswer> {
    const startMs = performance.now();
    const ends = await Promise.allSettled(Array.from({ length: parallel }, () => live((lives += 1))));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    return { wallMs: performance.now() - startMs, spawns };
  }
  process.on('message', (parallel: number) => {
    measure(parallel).then(
      (answer) => process.send?.(answer),
      (error: Error) => process.send?.({ failure: error.stack ?? error.message }),
    );
  });
}
