import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { ExecOutput } from '#shared/gen/drover/model/v1/model.ts';
import type { ExecInput, ExecOutput as Output } from '#shared/streams.ts';
import { formatExecInput, formatExecStart } from '#shared/wire/exec.ts';
import { createServedFleet } from '../../../test/fakes/served-fleet.ts';
import { until } from '../../../test/until.ts';
import type { Backend, ExecChannel } from '../../backends/backend.ts';

/** A command that says one word, and then does what the test wants. */
function createCommand() {
  const cut = Promise.withResolvers<void>();
  const inputs: ExecInput[] = [];
  let begun = 0;
  let closed = 0;
  async function* output(): AsyncGenerator<Output> {
    yield { kind: 'started', execId: 'exec-1' };
    yield { kind: 'stdout', data: Buffer.from('hi') };
    await cut.promise;
    yield { kind: 'exit', exit: { code: 3, unknown: false, outOfMemory: false, atMs: 1 } };
  }
  return {
    inputs,
    counts: () => ({ begun, closed }),
    cut: (error?: Error) => (error === undefined ? cut.resolve() : cut.reject(error)),
    exec: async (...[, , , signal]: Parameters<Backend['exec']>): Promise<ExecChannel> => {
      begun += 1;
      const close = (): void => {
        closed += 1;
        cut.reject(new DroverError('unavailable', 'the caller has left'));
      };
      signal.addEventListener('abort', close, { once: true });
      return { output: output(), send: async (input) => void inputs.push(input), close };
    },
  };
}

const startOf = (instance: string) =>
  formatExecStart({
    instance,
    command: ['sh'],
    stdin: true,
    tty: false,
    size: { columns: 80, rows: 24 },
    env: {},
    user: '',
    workingDir: '',
    project: '',
  });

/** Reads to the end; resolves with what it ended with. */
async function read(outputs: AsyncIterable<ExecOutput>, seen: string[]): Promise<unknown> {
  try {
    for await (const { output } of outputs) seen.push(output?.$case ?? '');
    return 'end';
  } catch (error) {
    return error;
  }
}

async function begin() {
  const command = createCommand();
  await using opened = new AsyncDisposableStack();
  const world = opened.use(await createServedFleet({ exec: command.exec }));
  const [instance = ''] = await world.run('web');
  const leaving = new AbortController();
  const call = world.client.exec({ signal: leaving.signal });
  await call.send(startOf(instance));
  const seen: string[] = [];
  const ended = read(call.output, seen);
  await until(() => seen.includes('stdout'), { what: 'the first word' });
  const leave = (): void => leaving.abort();
  const parts = opened.move();
  return { command, call, seen, ended, leave, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

// In each of them the caller's input stays open, as a terminal's does.
describe('a command in an instance', () => {
  it('that is cut off answers unavailable once, and is not begun again', async () => {
    await using exec = await begin();
    exec.command.cut(new DroverError('unavailable', 'node h1 does not answer: the session was cut'));
    expect(await exec.ended).toMatchObject({ kind: 'unavailable' });
    expect(exec.seen).toEqual(['started', 'stdout']);
    expect(exec.command.counts().begun).toBe(1);
  });

  it('that ends tells its exit, though the caller could still type', async () => {
    await using exec = await begin();
    await exec.call.send(formatExecInput({ kind: 'stdin', data: Buffer.from('x') }));
    await until(() => exec.command.inputs.length === 1, { what: 'the input came' });
    exec.command.cut();
    expect(await exec.ended).toBe('end');
    expect(exec.seen.at(-1)).toBe('exit');
  });

  it('is hung up when its caller leaves', async () => {
    await using exec = await begin();
    exec.leave();
    await until(() => exec.command.counts().closed > 0, { what: 'the command is hung up' });
    expect(await exec.ended).toMatchObject({ kind: 'unavailable' });
    expect(exec.command.counts().begun).toBe(1);
  });
});
