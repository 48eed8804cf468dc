/** Sends a recorded flow to the fake and tells where its answers are not those of the cluster. */
import { createFakeClock } from '../clock.ts';
import type { FakeClock } from '../clock.ts';
import { startProxmoxServer } from '../proxmox-server.ts';
import type { ProxmoxServer } from '../proxmox-server.ts';
import { createSeededRandom } from '../random.ts';
import { compareValues, plainText } from './compare-answers.ts';
import type { Finding } from './compare-answers.ts';
import { sendRaw } from './raw-request.ts';
import type { RawAnswer } from './raw-request.ts';
import type { Exchange, Recording } from './recording.ts';
import { replayEvent } from './replay-events.ts';
import { replayFiles } from './replay-files.ts';
import { broadcastAsRecorded } from './replay-broadcasts.ts';
import { setUpReplay } from './replay-setup.ts';
import { createTranslation } from './replay-translation.ts';
import type { Translation } from './replay-translation.ts';

export interface ReplayFinding extends Finding {
  readonly exchange: number;
  readonly step: string;
}

interface Replay {
  readonly recording: Recording;
  readonly server: ProxmoxServer;
  readonly clock: FakeClock;
  readonly translation: Translation;
  readonly beginMs: number;
}

/** The real day of the recording: times in parameters mean the same then. */
function beginOf({ exchanges }: Recording): number {
  for (const { response, atMs } of exchanges) {
    const time = /"(?:starttime|time)":(\d{10})/.exec(JSON.stringify(response?.body ?? ''))?.[1];
    if (time !== undefined) return Number(time) * 1000 - atMs;
  }
  return Date.UTC(2026, 10, 23, 9);
}

export async function replayFlow(
  recording: Recording,
  onAnswer?: (exchange: number, answer: RawAnswer | undefined) => void,
): Promise<ReplayFinding[]> {
  const beginMs = beginOf(recording);
  const clock = createFakeClock(beginMs);
  const nodes = recording.version === '8.4.21' ? ['pve1', 'pve2', 'pve3'] : ['pvn1'];
  const random = createSeededRandom(7);
  await using server = await startProxmoxServer({
    version: recording.version,
    clock,
    nodes: nodes.map((name) => ({ name, kvm: false })),
    random,
    slowRefusals: true,
  });
  // The round of broadcasts has no phase of its own here: it is told when the recording shows that it was.
  server.world.close();
  const late = setUpReplay(server, recording);
  server.world.broadcasts.tell();
  const replay = { recording, server, clock, translation: createTranslation(server), beginMs };
  const findings: ReplayFinding[] = [];
  const groups = groupsOf(recording.exchanges);
  for (const group of groups) {
    for (const { since, place } of late) if (since === group[0]?.[0]) place();
    findings.push(...(await replayGroup(replay, group, onAnswer)));
  }
  return findings;
}

type Numbered = readonly [number, Exchange];

/** Exchanges of one moment together, all others alone. */
function groupsOf(exchanges: readonly Exchange[]): Numbered[][] {
  const groups: Numbered[][] = [];
  for (const [index, exchange] of exchanges.entries()) {
    const last = groups.at(-1);
    const { concurrentGroup } = exchange;
    if (concurrentGroup !== undefined && last?.[0]?.[1].concurrentGroup === concurrentGroup)
      last.push([index, exchange]);
    else groups.push([[index, exchange]]);
  }
  return groups;
}

const isPoll = ({ step }: Exchange): boolean => step.startsWith('poll task');
const recordedState = ({ response }: Exchange): unknown =>
  (response?.body as { data?: { status?: unknown } } | undefined)?.data?.status;

async function replayGroup(
  replay: Replay,
  group: readonly Numbered[],
  onAnswer?: (exchange: number, answer: RawAnswer | undefined) => void,
): Promise<ReplayFinding[]> {
  const [, first] = group[0] ?? [];
  if (first === undefined) return [];
  await catchUp(replay, first);
  await replayEvent(replay.server, replay.recording, first);
  for (const [, exchange] of group) broadcastAsRecorded(replay.server, exchange);
  const ordered = winnersFirst(group);
  const answers = await askInOrder(replay, ordered);
  const paired = pair(ordered, answers);
  return ordered.flatMap(([exchange, recorded], place) => {
    const answer = paired[place];
    onAnswer?.(exchange, answer);
    const found = answer === undefined ? [] : compareAnswer(replay, recorded, answer);
    return found.map((finding) => ({ ...finding, exchange, step: recorded.step }));
  });
}

/** Virtual time goes on to when the request was sent; not before a poll that found its task running. */
async function catchUp({ clock, beginMs }: Replay, exchange: Exchange): Promise<void> {
  if (isPoll(exchange) && recordedState(exchange) === 'running') return;
  const behindMs = beginMs + exchange.atMs - clock.nowMs();
  if (behindMs > 0) await clock.advance(behindMs);
}

/** Who won a race in the recording comes first here: by success, and among tasks by their process ids. */
function winnersFirst(group: readonly Numbered[]): Numbered[] {
  const rank = ([, { response }]: Numbered): number => {
    if (response?.status !== 200) return Number.MAX_SAFE_INTEGER;
    const pid = /UPID:[^:]+:([0-9A-F]{8}):/.exec(JSON.stringify(response.body))?.[1];
    return pid === undefined ? 0 : Number.parseInt(pid, 16);
  };
  return [...group].sort((a, b) => rank(a) - rank(b));
}

/** At the same moment, but the server has heard of each before the next is sent. */
async function askInOrder(replay: Replay, group: readonly Numbered[]): Promise<(RawAnswer | undefined)[]> {
  const answers: Promise<RawAnswer | undefined>[] = [];
  for (const [, exchange] of group) {
    const heard = replay.server.requests.count();
    answers.push(ask(replay, exchange));
    for (let turns = 0; turns < turnsOfPatience && replay.server.requests.count() === heard; turns += 1) {
      await replay.clock.turn();
    }
  }
  return Promise.all(answers);
}

const patienceMs = 150_000;

/** A poll that found its task ended is repeated until it has: durations are not compared. */
async function ask(replay: Replay, exchange: Exchange): Promise<RawAnswer | undefined> {
  const { clock } = replay;
  const untilMs = clock.nowMs() + patienceMs;
  for (;;) {
    const answer = await patiently(clock, send(replay, exchange));
    const waits =
      isPoll(exchange) &&
      recordedState(exchange) === 'stopped' &&
      answer?.text.includes('"running"') === true;
    if (!waits || clock.nowMs() > untilMs) return answer;
    await clock.advance(500);
  }
}

const turnsOfPatience = 400;

/** Virtual time passes while the server sleeps on a request; one that is never answered is given up. */
async function patiently(clock: FakeClock, pending: Promise<RawAnswer>): Promise<RawAnswer | undefined> {
  let done = false;
  const settled = pending.then(
    (answer) => answer,
    () => undefined,
  );
  void settled.then(() => {
    done = true;
  });
  const untilMs = clock.nowMs() + patienceMs;
  while (!done && clock.nowMs() < untilMs) {
    for (let turns = 0; turns < turnsOfPatience && !done; turns += 1) await clock.turn();
    if (!done) await clock.advance(500);
  }
  return done ? settled : undefined;
}

function send({ server, translation }: Replay, exchange: Exchange): Promise<RawAnswer> {
  const { request } = exchange;
  for (const { sha256, size } of request.files ?? []) replayFiles(sha256, size);
  const address = server.endpoints.get(request.endpoint) ?? '';
  const query =
    request.encoding === 'query' && request.params !== null ? `?${form(translation, request.params)}` : '';
  const body = bodyOf(translation, exchange);
  return sendRaw({
    address,
    authorityPem: server.authorityPem,
    method: request.method,
    path: `/api2/${request.format ?? 'json'}${translation.path(request.path)}${query}`,
    headers: { ...translation.headers(request), ...body?.headers },
    ...(body === undefined ? {} : { body: body.content }),
  });
}

const form = (translation: Translation, params: Readonly<Record<string, unknown>>): string =>
  new URLSearchParams(
    Object.entries(params).map(([name, value]): [string, string] => [name, translation.text(String(value))]),
  ).toString();

function bodyOf(
  translation: Translation,
  { request }: Exchange,
): { readonly content: Buffer; readonly headers?: Record<string, string> } | undefined {
  if (request.encoding === 'multipart') return multipart(translation, request);
  if (request.rawBody !== undefined) return { content: Buffer.from(request.rawBody) };
  if (request.params === null) return undefined;
  if (request.encoding === 'form') return { content: Buffer.from(form(translation, request.params)) };
  if (request.encoding === 'json') return { content: Buffer.from(JSON.stringify(request.params)) };
  return undefined;
}

function multipart(
  translation: Translation,
  request: Exchange['request'],
): { readonly content: Buffer; readonly headers: Record<string, string> } {
  const boundary = 'replayed-boundary';
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(request.params ?? {})) {
    const text = translation.text(String(value));
    parts.push(
      Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`),
    );
  }
  for (const { field, filename, contentType, size, sha256 } of request.files ?? []) {
    const head = `Content-Disposition: form-data; name="${field}"; filename="${filename}"\r\nContent-Type: ${contentType}`;
    parts.push(
      Buffer.from(`--${boundary}\r\n${head}\r\n\r\n`),
      replayFiles(sha256, size),
      Buffer.from('\r\n'),
    );
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`));
  return {
    content: Buffer.concat(parts),
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  };
}

function parseBody({ text, headers }: RawAnswer): unknown {
  return headers['content-type']?.toString().startsWith('application/json') === true
    ? JSON.parse(text)
    : text;
}

/** Which of the answers of one moment is which does not count. */
function pair(
  group: readonly Numbered[],
  answers: readonly (RawAnswer | undefined)[],
): (RawAnswer | undefined)[] {
  const left = [...answers];
  return group.map(([, { response }]) => {
    const exact = left.findIndex(
      (answer) =>
        answer?.status === response?.status &&
        plainText(answer?.reason ?? '') === plainText(response?.reason ?? ''),
    );
    const alike = exact >= 0 ? exact : left.findIndex((answer) => answer?.status === response?.status);
    return left.splice(Math.max(0, alike), 1)[0];
  });
}

function compareAnswer(
  { translation }: Replay,
  { response, step }: Exchange,
  answer: RawAnswer | undefined,
): Finding[] {
  if (response === null || answer === undefined) {
    const shown = (one: object | null | undefined): string =>
      one === null || one === undefined ? 'no answer' : 'an answer';
    return compareValues('answer', shown(response), shown(answer));
  }
  const body = parseBody(answer);
  translation.learn(response.body, body);
  const head = [
    ...compareValues('status', response.status, answer.status),
    ...compareValues('reason', plainText(response.reason), plainText(answer.reason)),
    ...compareValues('content-type', response.headers['content-type'], answer.headers['content-type']),
    ...compareValues('connection', response.headers['connection'], answer.headers['connection']),
  ];
  if (step.startsWith('poll task') && isRunning(response.body) && !isRunning(body)) return head;
  return [...head, ...compareValues('', translation.trim(response.body), translation.trim(body))];
}

const isRunning = (body: unknown): boolean =>
  (body as { data?: { status?: unknown } } | null)?.data?.status === 'running';
