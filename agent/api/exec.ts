import { DroverError, isKind } from '#shared/errors.ts';
import type { ExecInput, ExecOutput } from '#shared/gen/drover/model/v1/model.ts';
import type { CallContext } from '#shared/rpc-server.ts';
import { parseInstanceId } from '#shared/wire/checks.ts';
import { formatExecOutput, parseConsoleStart, parseExecInput, parseExecStart } from '#shared/wire/exec.ts';
import type { ExecSession } from '../drivers/driver.ts';
import type { Instances } from '../instances.ts';

/** Commands and terminals of guests at one time. */
export const mostExecSessions = 64;

/** Opens a session from the first message of a stream. */
type OpenSession = (first: ExecInput | undefined, signal: AbortSignal) => Promise<ExecSession>;

/** Commands and terminals of guests: input from the caller's stream, output back, the exit last. */
export function createSessionHandlers(instances: Instances, limit = mostExecSessions) {
  let running = 0;

  async function* serve(
    requests: AsyncIterable<ExecInput>,
    { signal }: CallContext,
    open: OpenSession,
  ): AsyncGenerator<ExecOutput> {
    const inputs = requests[Symbol.asyncIterator]();
    const first = await inputs.next();
    if (running >= limit) {
      throw new DroverError('resource-exhausted', `${running} commands run on this node; at most ${limit}`);
    }
    running += 1;
    let session: ExecSession | undefined;
    try {
      session = await open(first.done === true ? undefined : first.value, signal);
      const { close } = session;
      signal.addEventListener('abort', close, { once: true });
      if (signal.aborted) close();
      const feeding = feed(inputs, session);
      for await (const output of session.output) yield formatExecOutput(output);
      feeding.stop();
      await feeding.failure;
    } finally {
      session?.close();
      running -= 1;
    }
  }

  return {
    exec: (requests: AsyncIterable<ExecInput>, context: CallContext) =>
      serve(requests, context, async (first, signal) => {
        const start = parseExecStart(first);
        return instances.exec(parseInstanceId(start.instance), start, signal);
      }),
    console: (requests: AsyncIterable<ExecInput>, context: CallContext) =>
      serve(requests, context, async (first, signal) => {
        const { instance, size } = parseConsoleStart(first);
        return instances.console(parseInstanceId(instance), size, signal);
      }),
  };
}

/**
 * Passes the input on beside the output. A faulty message ends the command; its error is thrown after the
 * output.
 */
function feed(inputs: AsyncIterator<ExecInput>, session: ExecSession) {
  let ended = false;
  let failure: unknown;
  async function pump(): Promise<void> {
    for (let next = await inputs.next(); next.done !== true && !ended; next = await inputs.next()) {
      const input = parseExecInput(next.value);
      if (input === undefined) continue;
      try {
        await session.send(input);
      } catch (error) {
        // The command has ended, and its exit is on the way: what was typed meanwhile goes nowhere.
        if (isKind(error, 'failed-precondition')) return;
        throw error;
      }
    }
  }
  pump().catch((error: unknown) => {
    if (ended) return;
    failure = error;
    session.close();
  });
  return {
    stop: (): void => {
      ended = true;
    },
    get failure(): Promise<void> {
      return failure === undefined ? Promise.resolve() : Promise.reject(failure as Error);
    },
  };
}
