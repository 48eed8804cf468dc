/** What real clusters answered: test/golden/proxmox-<version>/<flow>.json. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface RecordedRequest {
  readonly method: string;
  /** Below /api2/json, as it was sent. */
  readonly path: string;
  readonly encoding: string;
  /** Before they were encoded. */
  readonly params?: Readonly<Record<string, unknown>> | null;
  /** Where it is not the encoding of `params`. */
  readonly rawBody?: string;
  readonly files?: readonly { readonly field: string; readonly filename: string }[];
}

export interface RecordedExchange {
  readonly flow: string;
  readonly request: RecordedRequest;
  /** Null where none came. */
  readonly response: {
    readonly status: number;
    readonly reason: string;
    /** What was JSON; text otherwise. */
    readonly body: {
      readonly data?: unknown;
      readonly errors?: Readonly<Record<string, string>>;
      readonly message?: string;
    };
  } | null;
}

const golden = path.resolve(import.meta.dirname, '../../golden');

export function recordedExchanges(version: '8.4.21' | '9.2.11'): RecordedExchange[] {
  return globSync(`proxmox-${version}/*.json`, { cwd: golden })
    .sort()
    .flatMap((file) => {
      const text = readFileSync(path.join(golden, file), 'utf8');
      const { flow, exchanges } = JSON.parse(text) as { flow: string; exchanges: RecordedExchange[] };
      return exchanges.map((exchange) => ({ ...exchange, flow }));
    });
}
