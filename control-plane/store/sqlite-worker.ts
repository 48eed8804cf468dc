import { parentPort } from 'node:worker_threads';
import { describeFailure, openSqliteFile, type SqliteFile } from './sqlite-file.ts';
import type { SqliteAnswer, SqliteRequest } from './sqlite-messages.ts';

/** The thread that owns the database file: the disk may take its time here while the control plane goes on. */
let file: SqliteFile | undefined;

function answer(request: SqliteRequest): SqliteAnswer {
  if (request.kind === 'open') {
    file = openSqliteFile(request.file);
    const { revision, entries } = file;
    return { kind: 'opened', revision, entries };
  }
  if (request.kind === 'close') {
    file?.close();
    return { kind: 'closed' };
  }
  file?.write(request.changes);
  return { kind: 'written' };
}

function answerOrFail(request: SqliteRequest): SqliteAnswer {
  try {
    return answer(request);
  } catch (error) {
    return { kind: 'failed', failure: describeFailure(error) };
  }
}

parentPort?.on('message', (request: SqliteRequest) => parentPort?.postMessage(answerOrFail(request)));
