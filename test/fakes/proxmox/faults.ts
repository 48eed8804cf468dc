/** What a test makes go wrong. Methods are named as in "POST /nodes/{node}/lxc"; "*" is any of them. */

export interface Faults {
  /** Does what it was asked, then cuts the connection without a word. */
  loseAnswer(method: string, times?: number): void;
  /** Refuses without doing anything. */
  failNext(
    method: string,
    answer: { readonly status: number; readonly message: string },
    times?: number,
  ): void;
  /** Virtual time before it begins. */
  delay(method: string, delayMs: number, times?: number): void;
  /** Cuts the connection before anything is done. */
  cut(method: string, times?: number): void;
  /** This node's endpoint takes requests and never answers; the function lets it answer again, and all that wait. */
  hang(endpoint: string): () => void;
  /** A page of some proxy instead of JSON, with status 200 or another. */
  html(method: string, times?: number, status?: number): void;
  /** Half of the answer, under the length of the whole, then the end. */
  truncate(method: string, times?: number): void;
  /** An answer with so many bytes of data. */
  huge(method: string, bytes: number, times?: number): void;
  /** Nothing goes wrong any more. */
  reset(): void;
}

export interface Fault {
  readonly kind: 'lose-answer' | 'fail' | 'delay' | 'cut' | 'html' | 'truncate' | 'huge';
  readonly amount: number;
  readonly message: string;
}

export interface FaultBook extends Faults {
  /** What is to go wrong with this call; each counts once. */
  take(method: string): readonly Fault[];
  /** Resolves when the endpoint does not hang. */
  free(endpoint: string): Promise<void>;
}

interface Entry {
  readonly method: string;
  readonly fault: Fault;
  left: number;
}

export function createFaults(): FaultBook {
  let entries: Entry[] = [];
  const hanging = new Map<string, { readonly ended: Promise<void>; readonly end: () => void }>();
  function add(method: string, times: number, kind: Fault['kind'], amount = 0, message = ''): void {
    entries.push({ method, fault: { kind, amount, message }, left: times });
  }
  return {
    loseAnswer: (method, times = 1) => add(method, times, 'lose-answer'),
    failNext: (method, { status, message }, times = 1) => add(method, times, 'fail', status, message),
    delay: (method, delayMs, times = 1) => add(method, times, 'delay', delayMs),
    cut: (method, times = 1) => add(method, times, 'cut'),
    html: (method, times = 1, status = 200) => add(method, times, 'html', status),
    truncate: (method, times = 1) => add(method, times, 'truncate'),
    huge: (method, bytes, times = 1) => add(method, times, 'huge', bytes),
    hang(endpoint) {
      const { promise, resolve } = Promise.withResolvers<void>();
      hanging.set(endpoint, { ended: promise, end: resolve });
      return () => {
        hanging.delete(endpoint);
        resolve();
      };
    },
    reset() {
      entries = [];
      for (const { end } of hanging.values()) end();
      hanging.clear();
    },
    take(method) {
      const due = entries.filter((entry) => entry.method === '*' || entry.method === method);
      for (const entry of due) entry.left -= 1;
      entries = entries.filter((entry) => entry.left > 0);
      return due.map((entry) => entry.fault);
    },
    free: async (endpoint) => hanging.get(endpoint)?.ended,
  };
}
