import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { Clock } from '#shared/clock.ts';
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
 * How long it looks for an answer before it sleeps: to wake a sleeping thread takes as long as a fast disk
 * takes to sync.
 */
const attentionMs = 0.3;

/**
 * The journal's end of the thread that owns the database file. One answer is waited for at a time; once the
 * thread is lost, every answer is that.
 */
export class SqliteThread {
  readonly #clock: Clock;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #counts = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  #answersSeen = 0;
  #lost: SqliteFailure | undefined;

  constructor(clock: Clock, whenLost: (failure: SqliteFailure) => void) {
    this.#clock = clock;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: SqliteThreadData = { port: port2, counts: this.#counts };
    this.#worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), {
      workerData,
      transferList: [port2],
    });
    const lose = (message: string): void => {
      this.#lost = { reason: 'broken', message: `the thread that writes it has ended: ${message}` };
      countUp(this.#counts, answered);
      whenLost(this.#lost);
    };
    this.#worker.on('error', (error) => lose(error.message));
    this.#worker.on('exit', (code) => lose(`exit code ${code}`));
  }

  post(request: SqliteRequest): void {
    this.#port.postMessage(request);
    countUp(this.#counts, posted);
  }

  /** To the last request that asks for one. Turns instead of sleeping for as long as a fast disk may take. */
  async answer(): Promise<SqliteAnswer> {
    const seen = this.#answersSeen;
    const untilMs = this.#clock.monotonicMs() + attentionMs;
    while (Atomics.load(this.#counts, answered) === seen && this.#clock.monotonicMs() < untilMs) {
      await this.#clock.turn();
    }
    await Atomics.waitAsync(this.#counts, answered, seen).value;
    this.#answersSeen += 1;
    if (this.#lost !== undefined) return { kind: 'failed', failure: this.#lost };
    const received = receiveMessageOnPort(this.#port) as { message: SqliteAnswer } | undefined;
    return received?.message ?? { kind: 'written' };
  }

  async end(): Promise<void> {
    this.#worker.removeAllListeners();
    this.#port.close();
    await this.#worker.terminate();
  }
}
