/** Answers as pveproxy gives them. */
import { ApiFailure } from './failure.ts';
import { notReady } from './node-model.ts';
import { Answer, TextAnswer } from './route.ts';

export interface Reply {
  readonly status: number;
  readonly reason: string;
  readonly type: 'json' | 'text' | 'bare' | 'none';
  readonly body: string;
  /** Real pveproxy waits so long before it tells; virtual. */
  readonly delayMs: number;
  /** The connection ends with it though it is no error. */
  readonly closes?: true;
  /** Nothing is told at all. */
  readonly cut?: true;
}

const okay = { status: 200, reason: 'OK', delayMs: 0 };
const oneLine = (message: string): string => message.split('\n')[0]?.trim() ?? '';

/** An error without a body: 401, 595 to 597, and what is told before a request is looked at. */
export const emptyReply = (status: number, reason: string, delayMs = 0): Reply => ({
  status,
  reason: oneLine(reason),
  type: 'none',
  body: '',
  delayMs,
});

/** An error whose body is its reason, told as nothing in particular. */
export const bareReply = (status: number, message: string): Reply => ({
  status,
  reason: oneLine(message),
  type: 'bare',
  body: message,
  delayMs: 0,
});

export const cutReply: Reply = { ...emptyReply(0, ''), cut: true };

export type Format = 'json' | 'extjs';

export function successReply(result: unknown, format: Format): Reply {
  if (result instanceof TextAnswer) return { ...okay, type: 'text', body: result.text };
  const { data, more } = result instanceof Answer ? result : new Answer(result);
  const body = { ...more, data: data ?? null, ...(format === 'extjs' ? { success: 1 } : {}) };
  return { ...okay, type: 'json', body: JSON.stringify(body) };
}

/** What a handler threw: an ApiFailure as it is, anything else as 500 with its message. */
export function failureReply(error: unknown, format: Format): Reply {
  const failure = error instanceof ApiFailure ? error : new ApiFailure(500, messageOf(error));
  const { status, errors } = failure;
  if ((status >= 595 && status <= 597) || failure.message === notReady)
    return emptyReply(status, failure.message);
  const message = status === 501 ? failure.message : `${failure.message.trimEnd()}\n`;
  const body = { data: null, message, ...(errors === undefined ? {} : { errors }) };
  if (format === 'extjs') {
    return { ...okay, type: 'json', body: JSON.stringify({ ...body, success: 0, status }) };
  }
  const delayMs = status === 401 ? 3000 : 0;
  return { status, reason: oneLine(message), type: 'json', body: JSON.stringify(body), delayMs };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : 'not an error');
