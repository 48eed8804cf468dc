/** Requests as they are, for tests of the server itself: nothing is added, parsed or repeated. */
import { request } from 'node:https';
import type { Agent } from 'node:https';

export interface RawAnswer {
  readonly status: number;
  readonly reason: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface RawRequest {
  /** "127.0.0.1:8006". */
  readonly address: string;
  readonly authorityPem: string;
  readonly method: string;
  /** From the root: "/api2/json/version". */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Sent without a length. */
  readonly chunked?: boolean;
  readonly agent?: Agent;
}

/** Rejects where no answer came. */
export function sendRaw(wanted: RawRequest): Promise<RawAnswer> {
  const [host = '', port = ''] = wanted.address.split(':');
  const body = wanted.body === undefined ? undefined : Buffer.from(wanted.body);
  const length =
    body === undefined || wanted.chunked === true ? {} : { 'content-length': String(body.length) };
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host,
        port: Number(port),
        servername: '',
        ca: wanted.authorityPem,
        agent: wanted.agent ?? false,
        method: wanted.method,
        path: wanted.path,
        headers: {
          ...wanted.headers,
          ...length,
          ...(wanted.chunked === true ? { 'transfer-encoding': 'chunked' } : {}),
        },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            reason: Buffer.from(answer.statusMessage ?? '', 'latin1').toString('utf8'),
            headers: answer.headers,
            text: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}
