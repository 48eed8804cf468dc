import { createHash } from 'node:crypto';
import { DroverError } from '#shared/errors.ts';
import type { Transaction } from './store.ts';

/** What tells one request from another. */
export interface RequestHead {
  /** "admin/root". */
  readonly caller: string;
  /** A UUID chosen by the caller. */
  readonly requestId: string;
  /** Of requestDigest. */
  readonly bodyDigest: string;
}

/** Hex of SHA-256 over the method and the encoded request. */
export const requestDigest = (method: string, body: Uint8Array): string =>
  createHash('sha256').update(method).update('\0').update(body).digest('hex');

/**
 * Decides a request once: the answer is written in the transaction of the change itself, and the same
 * request gets it again for 24 hours without acting. The answer is data as JSON knows it. invalid-argument
 * with the reason request-id-reused for another body under the same id.
 */
export function answerOnce<Answer>(
  tx: Transaction,
  head: RequestHead,
  nowMs: number,
  decide: () => Answer,
): Answer {
  const { caller, requestId, bodyDigest } = head;
  const id = `${caller}/${requestId}`;
  const known = tx.get('request', id);
  if (known !== undefined) {
    if (known.bodyDigest === bodyDigest) return JSON.parse(known.result) as Answer;
    throw new DroverError('invalid-argument', `request id ${requestId} was used for another request`, {
      reason: 'request-id-reused',
      subject: { request: requestId },
      nextStep: 'choose a new request id for every new request',
    });
  }
  const answer = decide();
  tx.put('request', id, { caller, requestId, bodyDigest, result: JSON.stringify(answer), atMs: nowMs });
  return answer;
}
