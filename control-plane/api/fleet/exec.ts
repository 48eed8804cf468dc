import { asDroverError, DroverError, isKind } from '#shared/errors.ts';
import type { ExecInput as WireExecInput, ExecOutput } from '#shared/gen/drover/model/v1/model.ts';
import { formatExecOutput, parseConsoleStart, parseExecInput, parseExecStart } from '#shared/wire/exec.ts';
import type { ExecChannel } from '../../backends/backend.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { presentMoment } from '../messages.ts';
import { findInstance } from '../resolve-name.ts';
import { nodeOfRunning } from './instances.ts';

/** Relays one command to the instance's node. A call that is cut is never begun again. */
export const exec = (
  requests: AsyncIterable<WireExecInput>,
  context: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<ExecOutput> => converse('exec', parseExecStart, requests, context, deps);

/** Relays the guest's own terminal. */
export const openConsole = (
  requests: AsyncIterable<WireExecInput>,
  context: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<ExecOutput> => converse('console', parseConsoleStart, requests, context, deps);

async function* converse(
  method: 'exec' | 'console',
  parse: typeof parseExecStart,
  requests: AsyncIterable<WireExecInput>,
  { caller, signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<ExecOutput> {
  const inputs = requests[Symbol.asyncIterator]();
  const first = await inputs.next();
  const start = parse(first.done ? undefined : first.value);
  const moment = presentMoment(deps);
  const instance = findInstance(moment.snapshot, start.instance, start.project);
  const node = nodeOfRunning(instance, moment);
  const onNode = { ...start, instance: instance.metadata.id };
  const channel = await deps.backendOf(node)[method](node, onNode, caller, signal);

  let fault: DroverError | undefined;
  relayInputs(inputs, channel).catch((error: unknown) => {
    fault = asDroverError(error);
    channel.close();
  });
  try {
    let hasEnded = false;
    for await (const output of channel.output) {
      hasEnded = output.kind === 'exit';
      yield formatExecOutput(output);
    }
    throwIfAny(fault);
    if (!hasEnded)
      throw new DroverError('unavailable', 'the command was cut off before its exit was known', {
        subject: { instance: instance.metadata.name, node },
      });
  } finally {
    // The relay may wait for words of the caller that never come: it ends with the call, nobody waits for it.
    channel.close();
  }
}

/** A function, since the compiler does not see that the relay sets it. */
function throwIfAny(fault: DroverError | undefined): void {
  if (fault !== undefined) throw fault;
}

/** What comes after the command's end is of no use, and no fault. */
async function relayInputs(inputs: AsyncIterator<WireExecInput>, channel: ExecChannel): Promise<void> {
  for (;;) {
    const next = await inputs.next();
    if (next.done) return;
    const input = parseExecInput(next.value);
    if (input === undefined) continue;
    try {
      await channel.send(input);
    } catch (error) {
      if (isKind(error, 'failed-precondition')) return;
      throw error;
    }
  }
}
