/** HTTP as pveproxy speaks it, with its quirks. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from './caller.ts';
import { dispatch, findRoute } from './dispatch.ts';
import type { Fault, FaultBook } from './faults.ts';
import { parseMultipart } from './multipart.ts';
import { ApiFailure } from './failure.ts';
import { bareReply, cutReply, emptyReply, failureReply, successReply } from './reply.ts';
import type { Format, Reply } from './reply.ts';
import { MalformedJson, parseForm, parseJson } from './request-body.ts';
import type { RawParameters } from './request-body.ts';
import type { RouteTable } from './route-table.ts';
import type { UploadedFile } from './route.ts';
import { identify } from './tickets.ts';
import type { Tickets } from './tickets.ts';
import { notReady } from './node-model.ts';
import { checkPermission } from './permission.ts';
import type { World } from './world.ts';

export interface HttpSurroundings {
  readonly world: World;
  readonly table: RouteTable;
  readonly tickets: Tickets;
  readonly faults: FaultBook;
  /** Whether refusals of authentication cost three virtual seconds, as they do in truth. */
  readonly slowRefusals: boolean;
  /** Told of every request as it begins: for tests that count. */
  onRequest(method: string, path: string, endpoint: string): void;
}

interface Reading {
  readonly method: string;
  readonly path: string;
  readonly format: Format;
  readonly query: string;
  readonly endpoint: string;
}

const methods = new Set(['GET', 'POST', 'PUT', 'DELETE']);
const maximumBodyBytes = 512 * 1024;
/** Without authentication. */
const forAll = new Set(['GET /access/domains', 'GET /access/ticket', 'POST /access/ticket']);
const nobody: Caller = { user: '', authId: '' };

export async function answerRequest(
  surroundings: HttpSurroundings,
  endpoint: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const taken: Fault[] = [];
  const node = surroundings.world.nodes.get(endpoint);
  // Dead or cut off without a word: who asks waits for ever.
  if (node?.alive === false || node?.cut === true) return;
  await surroundings.faults.free(endpoint);
  const reply = await replyTo(surroundings, endpoint, request, taken);
  if (surroundings.slowRefusals && reply.delayMs > 0) {
    await surroundings.world.clock.sleep(reply.delayMs * surroundings.world.pace);
  }
  if (reply.cut === true || taken.some(({ kind }) => kind === 'lose-answer')) {
    request.socket.destroy();
    return;
  }
  writeReply(response, isLastOf(request.socket) ? { ...reply, closes: true } : reply, taken);
}

const requestsPerConnection = 100;
const requestsOf = new WeakMap<object, number>();

function isLastOf(socket: object): boolean {
  const count = (requestsOf.get(socket) ?? 0) + 1;
  requestsOf.set(socket, count);
  return count >= requestsPerConnection;
}

async function replyTo(
  surroundings: HttpSurroundings,
  endpoint: string,
  request: IncomingMessage,
  taken: Fault[],
): Promise<Reply> {
  const { method = '', headers } = request;
  if (!methods.has(method)) return emptyReply(501, `method '${method}' not available`);
  const coding = headers['transfer-encoding']?.toLowerCase();
  if (coding === 'chunked') return bareReply(501, 'chunked transfer encoding not supported');
  const url = new URL(request.url ?? '/', 'https://pve');
  const [, formatName = '', rest = ''] = /^\/api2\/([a-z]+)(\/.*)?$/.exec(url.pathname) ?? [];
  if (formatName !== 'json' && formatName !== 'extjs') return notApi(url.pathname);
  const reading = {
    method,
    path: decodePath(rest),
    format: formatName,
    query: url.search,
    endpoint,
  } as const;
  surroundings.onRequest(method, reading.path, endpoint);
  if (surroundings.world.nodes.get(endpoint)?.files === 'away') return emptyReply(500, notReady, 3000);
  const identified = forAll.has(`${method} ${reading.path}`)
    ? { caller: nobody }
    : identify(surroundings.world, surroundings.tickets, method, headers);
  if ('refused' in identified) return emptyReply(401, identified.refused, 3000);
  const upload = /^\/nodes\/[^/]+\/storage\/[^/]+\/upload$/.test(reading.path) && method === 'POST';
  const body = upload
    ? await readUpload(surroundings, request, reading, identified.caller)
    : await readParameters(request, reading, surroundings.world.major);
  if ('status' in body) return body;
  const reply = await act(surroundings, reading, identified.caller, body, taken);
  return upload ? { ...reply, closes: true } : reply;
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function notApi(path: string): Reply {
  if (path !== '/') return bareReply(404, `no such file '${path}'`);
  const body = '<!DOCTYPE html>\n<html><head><title>Proxmox Virtual Environment</title></head></html>\n';
  return { status: 200, reason: 'OK', type: 'text', body, delayMs: 0 };
}

interface ReadBody {
  readonly raw: RawParameters;
  readonly files: readonly UploadedFile[];
}

async function readParameters(
  request: IncomingMessage,
  { method, query }: Reading,
  major: number,
): Promise<ReadBody | Reply> {
  const inQuery = parseForm(query);
  const length = Number(request.headers['content-length'] ?? 0);
  if (length === 0) return { raw: inQuery, files: [] };
  if (method !== 'PUT' && method !== 'POST') {
    return bareReply(501, `Unexpected content for method '${method}'`);
  }
  if (length > maximumBodyBytes) return bareReply(501, 'for data too large');
  const type = request.headers['content-type'] ?? '';
  const kind = type.split(';')[0]?.trim().toLowerCase() ?? '';
  if (kind !== '' && kind !== 'application/x-www-form-urlencoded' && kind !== 'application/json') {
    return bareReply(506, `upload 'Content-Type '${type}' not implemented`);
  }
  const text = (await readAll(request)).toString('utf8');
  try {
    return {
      raw: { ...inQuery, ...(kind === 'application/json' ? parseJson(text, major) : parseForm(text)) },
      files: [],
    };
  } catch (error) {
    if (error instanceof MalformedJson) return bareReply(500, error.message);
    throw error;
  }
}

/** Rights are looked at before the file is read: who has none is answered in the middle of sending, or never. */
async function readUpload(
  { world, table }: HttpSurroundings,
  request: IncomingMessage,
  { method, path }: Reading,
  caller: Caller,
): Promise<ReadBody | Reply> {
  const found = table.find(method, path);
  try {
    checkPermission({ world, caller, parameters: found?.pathParameters ?? {} }, found?.facts?.permission);
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    // A small file is in the buffers by then; with a larger one the client meets a closed connection.
    return Number(request.headers['content-length'] ?? 0) > 64 * 1024
      ? cutReply
      : emptyReply(error.status, error.message, 3000);
  }
  const type = /^multipart\/form-data;.*boundary="?([^";]+)"?/i.exec(request.headers['content-type'] ?? '');
  if (type?.[1] === undefined) {
    await world.clock.sleep(5000 * world.pace);
    return cutReply;
  }
  const parts = parseMultipart(await readAll(request), type[1]);
  if (parts === undefined) return cutReply;
  const { fields, file } = parts;
  const raw = {
    ...fields,
    filename: file.filename,
    tmpfilename: `/var/tmp/pveupload-${file.sha256.slice(0, 32)}`,
  };
  return { raw, files: [file] };
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function act(
  { world, table, faults }: HttpSurroundings,
  { method, path, format, endpoint }: Reading,
  caller: Caller,
  { raw, files }: ReadBody,
  taken: Fault[],
): Promise<Reply> {
  try {
    const found = findRoute(table, method, path);
    taken.push(...faults.take(found.name));
    const delayMs = taken.reduce((sum, { kind, amount }) => sum + (kind === 'delay' ? amount : 0), 0);
    if (delayMs > 0) await world.clock.sleep(delayMs * world.pace);
    const fail = taken.find(({ kind }) => kind === 'fail');
    if (fail !== undefined) throw new ApiFailure(fail.amount, fail.message);
    if (taken.some(({ kind }) => kind === 'cut')) return cutReply;
    return successReply(await dispatch(world, found, { method, path, caller, raw, endpoint, files }), format);
  } catch (error) {
    return failureReply(error, format);
  }
}

const contentTypes: Readonly<Record<Reply['type'], string | undefined>> = {
  json: 'application/json;charset=UTF-8',
  text: 'text/plain',
  bare: undefined,
  none: undefined,
};

function writeReply(response: ServerResponse, reply: Reply, taken: readonly Fault[]): void {
  const spoilt = spoil(reply, taken);
  const body = Buffer.from(spoilt.body);
  const isGood = spoilt.status < 400;
  const type = spoilt.contentType ?? contentTypes[spoilt.type];
  response.writeHead(spoilt.status, asHeaderText(spoilt.reason), {
    'cache-control': 'max-age=0',
    connection: isGood && reply.closes !== true ? 'Keep-Alive' : 'close',
    pragma: 'no-cache',
    server: 'pve-api-daemon/3.0',
    'content-length': body.length,
    ...(type === undefined ? {} : { 'content-type': type }),
  });
  if (!taken.some(({ kind }) => kind === 'truncate')) {
    response.end(body);
    return;
  }
  response.write(body.subarray(0, Math.floor(body.length / 2)), () => response.socket?.destroy());
}

/** Reason phrases are one line of bytes. */
const asHeaderText = (text: string): string => Buffer.from(text.replace(/\p{Cc}/gu, ' ')).toString('latin1');

function spoil(reply: Reply, taken: readonly Fault[]): Reply & { readonly contentType?: string } {
  const html = taken.find(({ kind }) => kind === 'html');
  if (html !== undefined) {
    const body = '<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n';
    return { ...reply, status: html.amount, reason: 'Bad Gateway', body, contentType: 'text/html' };
  }
  const huge = taken.find(({ kind }) => kind === 'huge');
  if (huge === undefined) return reply;
  return { ...reply, type: 'json', body: JSON.stringify({ data: 'x'.repeat(huge.amount) }) };
}
