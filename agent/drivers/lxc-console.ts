import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { ExecInput, ExecOutput, TerminalSize } from '#shared/streams.ts';
import { notRunning } from './crun-exec.ts';
import type { DriverContext, ExecSession } from './driver.ts';
import { sizeText, untilBegun } from './lxc-exec.ts';
import type { LxcTools } from './lxc-facts.ts';
import { openLxcSession, type LxcSession } from './lxc-session.ts';
import { readLxcState, requireRecord, type LxcView } from './lxc-state.ts';

interface Viewer {
  /** undefined: it is over. */
  take(data: Uint8Array | undefined): void;
}

/** One lxc-console for all who look: LXC lets in one alone. */
interface Terminal {
  readonly session: LxcSession;
  readonly viewers: Set<Viewer>;
}

/** A slow reader loses the oldest: the others and the guest do not wait for it. */
const maxWaiting = 1024;
const beginTimeoutMs = 10_000;

export interface LxcConsoles {
  open(id: InstanceId, size: TerminalSize, signal: AbortSignal): Promise<ExecSession>;
  close(): void;
}

/** The terminals of guests, each shared by everybody who looks at it through this agent. */
export function lxcConsoles(context: DriverContext, view: LxcView, tools: LxcTools): LxcConsoles {
  const { random } = context;
  const terminals = new Map<string, Promise<Terminal>>();

  async function connect(id: InstanceId, size: TerminalSize, signal: AbortSignal): Promise<Terminal> {
    const command = [tools.console, '-P', view.paths.lxcPath, '-n', id, '-t', '0', '-q'];
    const session = await openLxcSession(
      context,
      { kind: 'console', owner: 0, size, exitFile: '', command },
      signal,
    );
    const early = await untilBegun(session, context.clock.timeout(beginTimeoutMs, signal)).catch(
      (error: unknown) => {
        void session.send('A').catch(() => undefined);
        throw error;
      },
    );
    if (early.at(-1)?.letter === 'X')
      throw new DroverError('failed-precondition', `the console of ${id} is in use, or gone`);
    const viewers = new Set<Viewer>();
    void spread(session, viewers).finally(() => {
      terminals.delete(id);
      for (const viewer of viewers) viewer.take(undefined);
      session.close();
    });
    return { session, viewers };
  }

  async function open(id: InstanceId, size: TerminalSize, signal: AbortSignal): Promise<ExecSession> {
    requireRecord(view, id);
    const { phase } = readLxcState(view, id);
    if (phase !== 'running') throw notRunning(id, phase);
    let opening = terminals.get(id);
    if (opening === undefined) {
      opening = connect(id, size, signal);
      terminals.set(id, opening);
      opening.catch(() => terminals.delete(id));
    }
    return look(await opening, random.uuidV7(), () => terminals.delete(id));
  }

  return {
    open,
    close() {
      for (const opening of terminals.values())
        void opening.then(({ session }) => session.send('H')).catch(() => undefined);
      terminals.clear();
    },
  };
}

async function spread({ frames }: LxcSession, viewers: ReadonlySet<Viewer>): Promise<void> {
  for (let next = await frames.next(); next.done !== true; next = await frames.next()) {
    const { letter, data } = next.value;
    if (letter === 'O') for (const viewer of viewers) viewer.take(Uint8Array.from(data));
    if (letter === 'X') return;
  }
}

function look({ session, viewers }: Terminal, execId: string, onEmpty: () => void): ExecSession {
  const waiting: Uint8Array[] = [];
  let isOver = false;
  let wake = Promise.withResolvers<undefined>();
  const viewer: Viewer = {
    take(data) {
      if (data === undefined) isOver = true;
      else if (waiting.push(data) > maxWaiting) waiting.shift();
      wake.resolve(undefined);
    },
  };
  viewers.add(viewer);
  const leave = (): void => {
    if (!viewers.delete(viewer)) return;
    viewer.take(undefined);
    if (viewers.size > 0) return;
    onEmpty();
    void session.send('H').catch(() => undefined);
  };
  async function* output(): AsyncIterable<ExecOutput> {
    try {
      for (;;) {
        for (let data = waiting.shift(); data !== undefined; data = waiting.shift())
          yield { kind: 'stdout', data };
        if (isOver) return;
        wake = Promise.withResolvers<undefined>();
        await wake.promise;
      }
    } finally {
      leave();
    }
  }
  return {
    execId,
    output: output(),
    async send(input: ExecInput) {
      if (isOver) throw new DroverError('failed-precondition', 'the console has ended');
      if (input.kind === 'stdin') await session.send('I', input.data);
      if (input.kind === 'resize') await session.send('R', sizeText(input.size));
    },
    close: leave,
  };
}
