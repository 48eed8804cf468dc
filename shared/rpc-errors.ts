import { Metadata, status, type StatusObject } from '@grpc/grpc-js';
import { DroverError, type ErrorKind, asDroverError, errorKinds } from '#shared/errors.ts';
import { ErrorDetail } from '#shared/gen/drover/model/v1/model.ts';
import { ErrorInfo } from '#shared/gen/google/rpc/error_details.ts';
import { Status } from '#shared/gen/google/rpc/status.ts';

/** The only place where kinds and gRPC codes meet. A kind without a code does not compile. */
const codeOfKind: Record<ErrorKind, status> = {
  'invalid-argument': status.INVALID_ARGUMENT,
  'not-found': status.NOT_FOUND,
  'already-exists': status.ALREADY_EXISTS,
  'failed-precondition': status.FAILED_PRECONDITION,
  'permission-denied': status.PERMISSION_DENIED,
  unauthenticated: status.UNAUTHENTICATED,
  unimplemented: status.UNIMPLEMENTED,
  aborted: status.ABORTED,
  'resource-exhausted': status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
  'deadline-exceeded': status.DEADLINE_EXCEEDED,
  internal: status.INTERNAL,
  'data-loss': status.DATA_LOSS,
};

const kindOfCode: ReadonlyMap<number, ErrorKind> = new Map<number, ErrorKind>([
  ...Object.entries(codeOfKind).map(([kind, code]) => [code, kind as ErrorKind] as const),
  [status.OUT_OF_RANGE, 'invalid-argument'],
  // The peer ended the call in the middle: what it did is not known.
  [status.CANCELLED, 'unavailable'],
]);

const detailType = 'type.googleapis.com/drover.model.v1.ErrorDetail';
const infoType = 'type.googleapis.com/google.rpc.ErrorInfo';
/** HTTP/2 headers are bounded; what does not fit would cut the whole answer. */
const messageLimit = 2000;
const faultLimit = 50;

/**
 * google.rpc.Status with ErrorInfo (reason in upper snake case) and our detail, in the trailer every gRPC
 * library reads. What is not a DroverError is a bug: its text stays on this side.
 */
export function toStatus(error: unknown): Partial<StatusObject> {
  const known =
    error instanceof DroverError
      ? error
      : new DroverError('internal', 'internal error; the log of the server has more');
  const code = codeOfKind[known.kind];
  const message = truncate(known.message);
  const subject = { ...known.subject };
  // Said of one connection: whoever hears it over another must not take it for that one.
  const reason = known.reason === 'connection' ? '' : known.reason;
  const info = ErrorInfo.fromPartial({
    reason: (reason || known.kind).toUpperCase().replaceAll('-', '_'),
    domain: 'drover',
    metadata: subject,
  });
  const detail = ErrorDetail.fromPartial({
    kind: known.kind,
    subject,
    nextStep: known.nextStep,
    reason,
    faults: known.faults.slice(0, faultLimit).map(({ field, message: text }) => ({ field, message: text })),
  });
  const metadata = new Metadata();
  const encoded = Status.encode({
    code,
    message,
    details: [
      { typeUrl: infoType, value: ErrorInfo.encode(info).finish() },
      { typeUrl: detailType, value: ErrorDetail.encode(detail).finish() },
    ],
  }).finish();
  metadata.set('grpc-status-details-bin', Buffer.from(encoded));
  return { code, details: message, metadata };
}

/**
 * What a call threw, as the peer meant it. An error without our detail came from gRPC itself: unavailable
 * then has the reason "connection".
 */
export function fromStatus(error: unknown): DroverError {
  if (!isStatus(error)) return asDroverError(error);
  const raw = error.metadata?.get('grpc-status-details-bin')[0];
  const detail = raw instanceof Buffer ? detailOf(raw) : undefined;
  const kind = detail?.kind ?? '';
  if (detail !== undefined && kind in errorKinds) {
    const { subject, nextStep, reason, faults } = detail;
    return new DroverError(kind as ErrorKind, error.details, {
      subject,
      nextStep,
      reason,
      faults,
      cause: error,
    });
  }
  const reason = error.code === status.UNAVAILABLE ? 'connection' : '';
  return new DroverError(kindOfCode.get(error.code) ?? 'internal', error.details, { reason, cause: error });
}

function detailOf(raw: Buffer): ErrorDetail | undefined {
  try {
    const found = Status.decode(raw).details.find(({ typeUrl }) => typeUrl === detailType);
    return found === undefined ? undefined : ErrorDetail.decode(found.value);
  } catch {
    // A trailer from something between us that is not ours to read: the code alone still says enough.
    return undefined;
  }
}

function isStatus(error: unknown): error is StatusObject {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'number';
}

function truncate(text: string): string {
  return text.length <= messageLimit ? text : `${text.slice(0, messageLimit)} …`;
}
