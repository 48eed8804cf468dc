import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { systemClock } from '#shared/clock.ts';
import { describeFailure, openSqliteFile, type SqliteFile } from './sqlite-file.ts';
import {
  answered,
  countUp,
  posted,
  type SqliteAnswer,
  type SqliteFailure,
  type SqliteRequest,
  type SqliteThreadData,
} from './sqlite-messages.ts';

/**
 * How long it looks for a request before it sleeps: a caller that waits for each change has the next one by
 * then. Longer would take a busy processor from the thread that makes the requests.
 */
const attentionMs = 0.05;

/**
 * The thread that owns the database file: the disk may take its time here while the control plane goes on. It
 * has nothing else to do, so it waits for requests without an event loop,
 * until it is terminated.
 */
const { port, counts } = workerData as SqliteThreadData;
let file: SqliteFile | undefined;
/** Why the group that is coming in cannot be written: its other parts are let go by. */
let failure: SqliteFailure | undefined;

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

/** Looks for a while instead of sleeping: the next request may be near. */
function waitForMore(seen: number): void {
  const untilMs = systemClock.monotonicMs() + attentionMs;
  while (Atomics.load(counts, posted) === seen && systemClock.monotonicMs() < untilMs);
  Atomics.wait(counts, posted, seen);
}

for (;;) {
  const seen = Atomics.load(counts, posted);
  const received = receiveMessageOnPort(port) as { message: SqliteRequest } | undefined;
  if (received === undefined) {
    waitForMore(seen);
    continue;
  }
  const answer = handle(received.message);
  if (answer === undefined) continue;
  if (answer.kind !== 'written') port.postMessage(answer);
  countUp(counts, answered);
}
