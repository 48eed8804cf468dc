import { parentPort } from 'node:worker_threads';
import { systemClock } from '#shared/clock.ts';
import { describeFailure, openSqliteFile, type SqliteFile } from './sqlite-file.ts';
import { attentionMs, type SqliteAnswer, type SqliteFailure, type SqliteRequest } from './sqlite-messages.ts';

/**
 * The thread that owns the database file: the disk may take its time here while the control plane goes on.
 */
let file: SqliteFile | undefined;
/** Why the group that is coming in cannot be written: its other parts are let go by. */
let failure: SqliteFailure | undefined;
let received = 0;

function attempt(act: () => SqliteAnswer): SqliteAnswer {
  try {
    return act();
  } catch (error) {
    return { kind: 'failed', failure: describeFailure(error) };
  }
}

function open(path: string): SqliteAnswer {
  file = openSqliteFile(path);
  const { revision, entries } = file;
  return { kind: 'opened', revision, entries };
}

function close(): SqliteAnswer {
  file?.close();
  return { kind: 'closed' };
}

function write({ writes, isLast }: SqliteRequest & { kind: 'write' }): SqliteAnswer | undefined {
  try {
    if (failure === undefined) file?.write(writes);
    if (failure === undefined && isLast) file?.commit();
  } catch (error) {
    failure = describeFailure(error);
    file?.rollBack();
  }
  if (!isLast) return undefined;
  const answer: SqliteAnswer = failure === undefined ? { kind: 'written' } : { kind: 'failed', failure };
  failure = undefined;
  return answer;
}

function handle(request: SqliteRequest): SqliteAnswer | undefined {
  if (request.kind === 'write') return write(request);
  return attempt(() => (request.kind === 'open' ? open(request.file) : close()));
}

/** Turns instead of sleeping while the next group may be near. */
async function stayAwake(): Promise<void> {
  const last = received;
  const untilMs = systemClock.monotonicMs() + attentionMs;
  while (received === last && systemClock.monotonicMs() < untilMs) await systemClock.turn();
}

parentPort?.on('message', (request: SqliteRequest) => {
  received += 1;
  const answer = handle(request);
  if (answer === undefined) return;
  parentPort?.postMessage(answer);
  if (answer.kind === 'written') void stayAwake();
});
