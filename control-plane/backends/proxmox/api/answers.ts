import { DroverError, type ErrorKind, type FieldFault } from '#shared/errors.ts';
import type { Verdict } from './known-words.ts';
import { cleanText, verdictOf } from './words.ts';

/** An HTTP answer as it came. */
export interface Answer {
  readonly status: number;
  /** The reason phrase: older versions say nowhere else what is wrong. */
  readonly reason: string;
  readonly contentType: string;
  readonly body: Buffer;
}

/** What a call was about, for the subject of its errors. */
export interface CallSubject {
  readonly cluster: string;
  /** "POST /nodes/{node}/lxc". */
  readonly method: string;
  readonly node?: string;
  readonly endpoint?: string;
}

/** What an answer says, before anybody decides what it means. */
interface Said {
  /** Undefined: not JSON. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
  readonly text: string;
  readonly faults: readonly FieldFault[];
}

const subjectOf = (subject: CallSubject, acted?: 'no'): Record<string, string> => ({
  cluster: subject.cluster,
  ...(subject.node === undefined ? {} : { node: subject.node }),
  method: subject.method,
  ...(subject.endpoint === undefined ? {} : { endpoint: subject.endpoint }),
  ...(acted === undefined ? {} : { acted }),
});

/** The `data` of an answer that went well; throws what any other says. */
export function dataOf(answer: Answer, subject: CallSubject): unknown {
  const said = readAnswer(answer);
  if (answer.status === 200) return goodData(answer, said, subject);
  throw failureOf(answer, said, subject);
}

function goodData(answer: Answer, { json }: Said, subject: CallSubject): unknown {
  if (json !== undefined && Object.hasOwn(json, 'data')) return json['data'];
  const html = /html/.test(answer.contentType) || /^\s*<(?:!doctype|html)/i.test(startOf(answer));
  if (html) {
    throw new DroverError(
      'unavailable',
      `${subject.endpoint ?? subject.cluster} answers with a web page, not with the API's JSON`,
      {
        reason: 'not-the-api',
        subject: subjectOf(subject),
        nextStep: 'give the address of the API itself, port 8006, not the one of a proxy or a portal',
      },
    );
  }
  const found = answer.body.length === 0 ? 'nothing' : `"${cleanText(startOf(answer), 80)}"`;
  throw new DroverError(
    'internal',
    `${subject.method}: wanted JSON with data, found ${found} (${answer.body.length} bytes)`,
    { reason: 'garbage', subject: subjectOf(subject) },
  );
}

const startOf = ({ body }: Answer): string => body.subarray(0, 400).toString('utf8');

/** Body's message, then errors{}, then the reason phrase. */
function readAnswer(answer: Answer): Said {
  const json = parseObject(answer);
  if (answer.status === 200) return { json, text: '', faults: [] };
  const message = typeof json?.['message'] === 'string' ? cleanText(json['message']) : '';
  const faults = faultsOf(json?.['errors']);
  const plain = json === undefined && !/html/.test(answer.contentType) ? startOf(answer) : '';
  const text = [message, faults.map(({ field, message: words }) => `${field}: ${words}`).join('; ')]
    .concat(cleanText(plain.startsWith('<') ? '' : plain), cleanText(answer.reason))
    .find((words) => words !== '');
  return { json, text: text ?? '', faults };
}

function parseObject({ body }: Answer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    const object = typeof value === 'object' && value !== null && !Array.isArray(value);
    return object ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function faultsOf(errors: unknown): FieldFault[] {
  if (typeof errors !== 'object' || errors === null) return [];
  return Object.entries(errors)
    .slice(0, 50)
    .map(([field, words]) => ({
      field: cleanText(field, 60),
      message: cleanText(String(words), 300).replace(/^invalid format - /, ''),
    }))
    .sort((one, other) => one.field.localeCompare(other.field, 'en'));
}

function failureOf(answer: Answer, said: Said, subject: CallSubject): DroverError {
  if (answer.status === 400) return refusedParameters(said, subject);
  if (answer.status === 403) return withoutRight(said, subject);
  if (answer.status === 500) return failed(said, subject);
  const fixed = meaningOfStatus(answer.status, subject);
  const text = said.text === '' ? '' : `: ${said.text}`;
  return new DroverError(fixed.kind, `${fixed.message}${text}`, {
    reason: fixed.reason,
    subject: subjectOf(subject, fixed.acted),
    ...(fixed.nextStep === undefined ? {} : { nextStep: fixed.nextStep }),
  });
}

interface Meaning extends Verdict {
  readonly message: string;
  readonly acted?: 'no';
}

/** Statuses whose words do not matter: their wording differs by version. */
function meaningOfStatus(status: number, { node, method }: CallSubject): Meaning {
  const away = node === undefined ? 'the node behind it' : `node ${node}`;
  if (status === 401) {
    return {
      kind: 'unauthenticated',
      reason: 'credential',
      message: 'the cluster takes neither token nor ticket',
      nextStep: 'check that the token or the user exists, is enabled and has not expired; then its secret',
    };
  }
  if (status === 501) return { ...refusal('unimplemented', 'method'), message: `${method} is not offered` };
  if (status === 404) return { ...refusal('not-found', 'path'), message: `${method} is not there` };
  // Of its HTTP client (AnyEvent::HTTP), each for how far it came: connection, head, body, anything else.
  if (status === 595 || status === 596 || status === 597 || status === 599) {
    return {
      kind: 'unavailable',
      reason: 'node-unreachable',
      message: `${away} does not answer the rest of its cluster`,
      nextStep: 'check that node and its network; what it did is unknown',
    };
  }
  if (status >= 300 && status < 400) {
    return {
      ...refusal('failed-precondition', 'not-the-api'),
      message: `${method} is redirected (${status})`,
      nextStep: 'give the address of the API itself, with HTTPS and port 8006',
    };
  }
  if (status === 429) return { ...refusal('resource-exhausted', 'too-many'), message: 'too many requests' };
  if (status === 502 || status === 503 || status === 504) {
    return { kind: 'unavailable', reason: 'not-the-api', message: `something in between answers ${status}` };
  }
  return { kind: 'internal', reason: 'status', message: `${method} answers ${status}` };
}

const refusal = (kind: ErrorKind, reason: string) => ({ kind, reason, acted: 'no' }) as const;

/** Some 400s are no faults of a parameter, but of the world. */
const worldly: ReadonlySet<string> = new Set(['task', 'exists', 'same-node', 'hotplug', 'root-only']);

function refusedParameters({ faults, text }: Said, subject: CallSubject): DroverError {
  const [only] = faults;
  const verdict = only !== undefined && faults.length === 1 ? verdictOf(only.message) : undefined;
  if (only !== undefined && verdict !== undefined && worldly.has(verdict.reason)) {
    const { kind, ...context } = verdict;
    return new DroverError(kind, only.message, { ...context, subject: subjectOf(subject), faults });
  }
  const list = faults.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return new DroverError(
    'invalid-argument',
    `the cluster refuses ${faults.length > 1 ? 'parameters' : 'a parameter'}: ${list || text}`,
    { reason: 'parameters', subject: subjectOf(subject, 'no'), faults },
  );
}

/** "Permission check failed (/vms/7001, VM.Allocate)". */
function withoutRight({ text }: Said, subject: CallSubject): DroverError {
  const [, path, privileges] = /\((\/[^\s,()]*), ([A-Za-z.|]+)\)/.exec(text) ?? [];
  const root = verdictOf(text);
  const [, tag] = /modifying tag '([^']*)'/.exec(text) ?? [];
  const nextStep =
    tag !== undefined
      ? 'the options of the datacenter ("user-tag-access", "registered-tags") keep this tag to those with ' +
        'Sys.Modify on /: change them, or give that to the token (and to its user)'
      : /\(pool '[^']*' does not exist\)/.test(text)
        ? 'make that pool in the cluster, or take `cluster.pool` out of the spec'
        : root?.reason === 'root-only'
          ? root.nextStep
          : path === undefined || privileges === undefined
            ? 'compare the rights of the token with those that `drover cluster test` names'
            : `give ${privileges.replaceAll('|', ' or ')} on ${path} to the token (and to its user)`;
  return new DroverError('permission-denied', text || 'the cluster permits this not', {
    reason: root?.reason === 'root-only' ? 'root-only' : 'rights',
    subject: subjectOf(subject, 'no'),
    ...(nextStep === undefined ? {} : { nextStep }),
  });
}

/** The node that was asked cannot begin with anything now, and has not: another may. */
export const isNotReady = (answer: Answer): boolean =>
  answer.status === 500 && verdictOf(readAnswer(answer).text)?.reason === 'not-ready';

const refusals: ReadonlySet<string> = new Set(['no-quorum', 'not-ready']);

function failed({ text, faults }: Said, subject: CallSubject): DroverError {
  const words = text === '' ? `${subject.method} failed, and the cluster does not say of what` : text;
  const { kind, ...context } = verdictOf(text) ?? ({ kind: 'internal', reason: 'words' } as const);
  return new DroverError(kind, words, {
    ...context,
    subject: subjectOf(subject, refusals.has(context.reason) ? 'no' : undefined),
    faults,
  });
}
