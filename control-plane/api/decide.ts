import { checkUuid, parseOne } from '#shared/wire/checks.ts';
import { answerOnce, type RequestHead, requestDigest } from '../store/store-request.ts';
import type { Transaction } from '../store/store.ts';
import { callerName, type HandlerContext, type HandlerDeps } from './handler.ts';

/** What tells this request from others. invalid-argument. */
export function headOf(requestId: string, body: Uint8Array, { caller, method }: HandlerContext): RequestHead {
  return {
    caller: callerName(caller),
    requestId: parseOne('request', (faults) => checkUuid(requestId, 'requestId', faults)),
    bodyDigest: requestDigest(method, body),
  };
}

/** Decides a request once, in one transaction, and wakes the reconciler. As answerOnce. */
export async function decide<Answer>(
  { store, clock, wake }: Pick<HandlerDeps, 'store' | 'clock' | 'wake'>,
  head: RequestHead,
  change: (tx: Transaction) => Answer,
): Promise<Answer> {
  const { result } = await store.transact((tx) => answerOnce(tx, head, clock.nowMs(), () => change(tx)));
  wake();
  return result;
}
