import type { ExecSession, GuestSpec } from '../../agent/drivers/driver.ts';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { ExitStatus } from '#shared/model.ts';
import type { ExecInput, ExecOutput, TerminalSize } from '#shared/streams.ts';
import { runProgram, type GuestSurroundings } from './guest-program.ts';

export interface FakeProcess {
  readonly pid: number;
  readonly exit: ExitStatus | undefined;
  readonly ended: Promise<ExitStatus>;
  readonly output: AsyncIterable<ExecOutput>;
  send(input: ExecInput): Promise<void>;
  signal(signalNumber: number): void;
  hangUp(): void;
  end(exitCode: number, outOfMemory: boolean): void;
  /** Frozen, it hears no signal but 9. */
  pause(): void;
  resume(): void;
  /** Somebody else at its terminal. */
  watch(execId: string): ExecSession;
}

export const guestCommand = ({ spec, image }: GuestSpec): readonly string[] =>
  spec.command.length > 0 ? spec.command : [...image.entrypoint, ...image.command];

/**
 * A process of the fake host. The first one of a guest ignores SIGTERM until it says otherwise, as the
 * kernel has it.
 */
export function startProcess(
  clock: Clock,
  options: {
    readonly command: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly tty: boolean;
    readonly stdin: boolean;
    readonly size: TerminalSize;
    readonly init: boolean;
    readonly guest?: GuestSurroundings;
    readonly pid?: number;
    readonly onWrite?: (stream: 'stdout' | 'stderr', text: string) => void;
  },
): FakeProcess {
  const death = new AbortController();
  const { promise: ended, resolve } = Promise.withResolvers<ExitStatus>();
  const outputs = createQueue<ExecOutput>();
  const inputs = createQueue<string>();
  let exit: ExitStatus | undefined;
  let size = options.size;
  let onTerm: { readonly exitCode: number } | 'ignore' = options.init ? 'ignore' : { exitCode: 143 };
  const watchers = new Set<Queue<ExecOutput>>();
  const gate = createGate();
  const waiting: number[] = [];
  if (!options.stdin) inputs.end();

  const end = (code: number, outOfMemory: boolean): void => {
    if (exit !== undefined) return;
    exit = { code, unknown: false, outOfMemory, atMs: clock.nowMs() };
    death.abort();
    inputs.end();
    gate.open();
    for (const queue of [outputs, ...watchers]) {
      queue.push({ kind: 'exit', exit });
      queue.end();
    }
    resolve(exit);
  };
  const write = (stream: 'stdout' | 'stderr', text: string): void => {
    if (exit !== undefined) return;
    options.onWrite?.(stream, text);
    const kind = options.tty ? 'stdout' : stream;
    outputs.push({
      kind,
      data: new TextEncoder().encode(options.tty ? text.replaceAll('\n', '\r\n') : text),
    });
    const data = new TextEncoder().encode(text.replaceAll('\n', '\r\n'));
    for (const watcher of watchers) watcher.push({ kind: 'stdout', data });
  };
  const signal = (signalNumber: number): void => {
    if (signalNumber === 9) return end(137, false);
    if (gate.isShut()) return void waiting.push(signalNumber);
    if (signalNumber === 15) return onTerm === 'ignore' ? undefined : end(onTerm.exitCode, false);
    if (!options.init) end(128 + signalNumber, false);
  };

  const world = {
    clock,
    signal: death.signal,
    env: options.env,
    guest: options.guest ?? nothingAround,
    awake: gate.passed,
    write,
    read: inputs.next,
    size: () => size,
    onTerm: (reaction: { readonly exitCode: number } | 'ignore') => void (onTerm = reaction),
  };
  const run = async (): Promise<void> => {
    await clock.turn();
    const code = await runProgram(options.command, world);
    await gate.passed();
    end(code, false);
  };
  void run();
  const send = async (input: ExecInput): Promise<void> => {
    if (exit !== undefined) throw new DroverError('failed-precondition', 'the command has ended');
    if (input.kind === 'stdin') inputs.push(new TextDecoder().decode(input.data));
    if (input.kind === 'stdin-end') inputs.end();
    if (input.kind === 'resize') size = input.size;
    if (input.kind === 'signal') signal(input.signal);
  };

  return {
    pid: options.pid ?? 0,
    get exit() {
      return exit;
    },
    ended,
    output: outputs.read(),
    send,
    signal,
    hangUp: () => (options.tty ? end(129, false) : inputs.end()),
    end,
    pause: gate.shut,
    resume: () => {
      gate.open();
      for (const signalNumber of waiting.splice(0)) signal(signalNumber);
    },
    watch: (execId) => {
      const queue = createQueue<ExecOutput>();
      watchers.add(queue);
      const close = (): void => {
        watchers.delete(queue);
        queue.end();
      };
      return { execId, output: queue.read(), send, close };
    },
  };
}

const nothingAround: GuestSurroundings = {
  read: async () => undefined,
  write: async () => false,
  hasDevice: () => false,
  hold: () => {},
};

interface Gate {
  isShut(): boolean;
  shut(): void;
  open(): void;
  passed(): Promise<void>;
}

function createGate(): Gate {
  let gate: PromiseWithResolvers<void> | undefined;
  return {
    isShut: () => gate !== undefined,
    shut: () => void (gate ??= Promise.withResolvers<void>()),
    open: () => {
      gate?.resolve();
      gate = undefined;
    },
    passed: async () => gate?.promise,
  };
}

type Queue<T> = ReturnType<typeof createQueue<T>>;

function createQueue<T>() {
  const items: T[] = [];
  let open = true;
  let wake = Promise.withResolvers<void>();
  const rouse = (): void => {
    wake.resolve();
    wake = Promise.withResolvers<void>();
  };
  async function next(): Promise<T | undefined> {
    while (items.length === 0 && open) await wake.promise;
    return items.shift();
  }
  return {
    next,
    push: (item: T): void => {
      if (!open) return;
      items.push(item);
      rouse();
    },
    end: (): void => {
      open = false;
      rouse();
    },
    async *read(): AsyncIterable<T> {
      for (let item = await next(); item !== undefined; item = await next()) yield item;
    },
  };
}
