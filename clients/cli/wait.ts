import { DroverError } from '#shared/errors.ts';
import type { Operation, OperationState } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { CommandContext } from './command.ts';
import { showProgress } from './progress.ts';
import { escapeControls } from './terminal.ts';

const running: OperationState.OPERATION_STATE_RUNNING = 1;
const succeeded: OperationState.OPERATION_STATE_SUCCEEDED = 2;
const superseded: OperationState.OPERATION_STATE_SUPERSEDED = 3;

/** How long an operation may stand still for one reason before a person who waits is told. */
const patienceMs: Readonly<Record<string, number>> = {
  unplaceable: 3000,
  image: 10_000,
  'guest-failed': 15_000,
};

/**
 * Follows operations to their end, one line a change on standard error. What stands still is an error:
 * unplaceable has exit code 7; deadline-exceeded when the time is over: then the operation itself goes on.
 * aborted when a later change took its place.
 */
export async function waitFor(ids: readonly string[], context: CommandContext): Promise<void> {
  const { global, clock, signal } = context;
  const deadline = clock.timeout(global.timeoutMs, signal);
  const waiting = ids.map((id) => ({
    title: `operation ${id}`,
    follow: (note: (line: string) => void) => followOne(id, note, context, deadline),
  }));
  await showProgress(waiting, context);
}

async function followOne(
  id: string,
  note: (line: string) => void,
  context: CommandContext,
  deadline: AbortSignal,
): Promise<void> {
  const { operations } = await context.connect();
  const stuck = new AbortController();
  let last: Operation | undefined;
  let cancel = (): void => {};
  let said = '';
  const say = (operation: Operation): void => {
    const line = progressLine(operation);
    if (line !== said) note(line);
    said = line;
  };
  try {
    const both = AbortSignal.any([deadline, stuck.signal]);
    for await (const operation of operations.watchOperation({ id }, { signal: both })) {
      if (operation.blockedBy !== last?.blockedBy) {
        cancel();
        const waitMs = patienceMs[operation.blockedBy];
        cancel = waitMs === undefined ? () => {} : context.clock.after(waitMs, () => stuck.abort());
      }
      last = operation;
      say(operation);
      if (operation.state === superseded) break;
      if (operation.state !== running) return;
    }
  } catch (error) {
    if (stuck.signal.aborted && last !== undefined) throw blocked(last);
    if (!deadline.aborted || context.signal.aborted) throw error;
    throw timedOut(id, last, context);
  } finally {
    cancel();
  }
  if (last?.state === superseded) throw overtaken(last);
  if (stuck.signal.aborted && last !== undefined) throw blocked(last);
  if (deadline.aborted) throw timedOut(id, last, context);
}

function progressLine({ kind, workload, done, total, message, state }: Operation): string {
  const how = state === succeeded ? 'done' : message;
  const ended = state === superseded ? 'superseded by a later change' : how;
  return escapeControls(`${kind} ${workload}: ${done}/${total} ${ended}`.trimEnd());
}

function blocked({ id, workload, message, blockedBy }: Operation): DroverError {
  return new DroverError('failed-precondition', `${workload}: ${message}`, {
    reason: blockedBy,
    subject: { operation: id },
    nextStep: `it goes on by itself when that changes; look with: drover describe workload ${workload}`,
  });
}

function overtaken({ id, kind, workload }: Operation): DroverError {
  return new DroverError('aborted', `${kind} ${workload}: a later change took its place before it was done`, {
    reason: 'superseded',
    subject: { operation: id },
    nextStep: 'see what is wanted now, then decide again; look with: drover get operations',
  });
}

function timedOut(id: string, last: Operation | undefined, { global }: CommandContext): DroverError {
  const state = last === undefined ? 'nothing was heard of it' : progressLine(last);
  return new DroverError(
    'deadline-exceeded',
    `operation ${id} is not done after ${global.timeoutMs} ms: ${state}`,
    {
      subject: { operation: id },
      nextStep: 'it goes on; look with: drover get operations',
    },
  );
}
