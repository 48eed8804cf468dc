import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { ClusterSpec } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { type Answer, type CallSubject, dataOf, isNotReady } from './answers.ts';
import { type OpenPinned, connectTimeoutMs, connectionError, pinnedConnector } from './certificates.ts';
import { type HttpClient, httpClient, openByteSocket } from '../client.ts';
import type { CallOptions, ClusterApi } from '../cluster-api.ts';
import { type Credential, credentialOf } from './credentials.ts';
import { type Endpoint, type Endpoints, createEndpoints } from './endpoints.ts';
import { parseMembership } from '../observe/listings.ts';
import { type HttpRequest, requestOf, uploadOf } from './requests.ts';
import { encodeCall } from '../schema/encode.ts';
import type { Facts } from '../schema/facts.ts';
import { type VersionFacts, createVersionFacts } from './version-facts.ts';
import { type Budget, beforeSending, withinBudget } from './budget.ts';
import { cleanText } from './words.ts';

const defaultTimeoutMs = 30_000;
/** What waits behind a console's port waits as long. */
const openTimeoutMs = 10_000;
const versionMethod = 'GET /version';
const versionRequest = requestOf(versionMethod, { path: '/version', pairs: [] });
/** Slower than this an upload is given up. */
const slowestBytesPerMs = 256;

export interface ClientOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Where the version is known already; else the cluster is asked for it, once. */
  readonly facts?: Facts;
}

interface Connection {
  readonly endpoint: Endpoint;
  readonly open: OpenPinned;
  readonly http: HttpClient;
}

/**
 * The API of one cluster over HTTPS. Nothing is connected before the first call. invalid-argument: an
 * endpoint, a certificate or a credential that cannot be one.
 */
export function openClusterApi(cluster: string, spec: ClusterSpec, options: ClientOptions): ClusterApi {
  const { clock, random } = options;
  const closing = new AbortController();
  const connections = new Map<string, Connection>();
  const openOf = (endpoint: Endpoint): OpenPinned => connectionTo(endpoint).open;

  function connectionTo(endpoint: Endpoint): Connection {
    const known = connections.get(endpoint.address);
    if (known?.endpoint.trust === endpoint.trust) return known;
    const pinned = pinnedConnector(endpoint.trust);
    const open: OpenPinned = async (address) => {
      try {
        return await pinned(address, clock.timeout(connectTimeoutMs, closing.signal));
      } catch (error) {
        throw connectionError(error, address);
      }
    };
    const connection = { endpoint, open, http: httpClient(endpoint, open) };
    connections.set(endpoint.address, connection);
    void known?.http.retire();
    return connection;
  }

  const endpoints = createEndpoints({
    cluster,
    given: spec.endpoints,
    trust: spec.trust,
    clock,
    random,
    probe: async (endpoint) => {
      const socket = await openOf(endpoint)(endpoint, closing.signal);
      socket.destroy();
    },
  });
  // Told when the cluster is added, not when it is first asked.
  pinnedConnector(spec.trust);
  const send: Send = (endpoint, request, headers, limit) =>
    connectionTo(endpoint).http.send(request, headers, limit);
  const credential = credentialOf(spec.credential, {
    clock,
    random,
    cluster,
    login: (username, password, signal) => {
      const pairs = [['username', username] as const, ['password', password] as const];
      const request = {
        ...requestOf('POST /access/ticket', { path: '/access/ticket', pairs }),
        write: false,
      };
      const subject = { cluster, method: request.name };
      const budget = { signal, timeoutMs: defaultTimeoutMs, subject };
      return withinBudget(budget, clock, closing.signal, async (limit) => {
        const { answer, endpoint } = await ask(request, {}, { endpoints, send, budget, limit });
        return dataOf(answer, { ...subject, endpoint: endpoint.address });
      });
    },
  });

  const perform = (request: HttpRequest, budget: Budget): Promise<unknown> =>
    withinBudget(budget, clock, closing.signal, async (limit) => {
      const { answer, endpoint } = await letIn(request, { endpoints, send, budget, limit, credential });
      budget.onEndpoint?.(endpoint.address);
      const data = dataOf(answer, { ...budget.subject, endpoint: endpoint.address });
      if (request.name === 'GET /cluster/status' && speaksForItself(data)) endpoints.outvoted(endpoint);
      return data;
    });

  const versions: VersionFacts = createVersionFacts(() => {
    const subject = { cluster, method: versionMethod };
    return perform(versionRequest, { signal: closing.signal, timeoutMs: defaultTimeoutMs, subject });
  }, options.facts);

  return {
    async call(method, parameters, call) {
      const node: unknown = 'node' in parameters ? parameters.node : undefined;
      const subject = { cluster, method, ...(typeof node === 'string' ? { node: cleanText(node, 80) } : {}) };
      const budget = budgetOf(call, subject, defaultTimeoutMs);
      if (method === versionMethod) {
        const data = await perform(versionRequest, budget);
        versions.note(data);
        return data;
      }
      const facts = await withinBudget(budget, clock, closing.signal, (limit) =>
        beforeSending(versions.current(limit)),
      );
      return perform(requestOf(method, encodeCall(facts, method, parameters)), budget);
    },
    async openSocket(method, parameters, { endpoint: address, signal }) {
      const budget = budgetOf({ signal }, { cluster, method }, openTimeoutMs);
      return withinBudget(budget, clock, closing.signal, async (limit) => {
        const endpoint = endpoints.candidates().find((each) => each.address === address);
        if (endpoint === undefined) throw endpoints.noneAnswers();
        const { path } = requestOf(method, encodeCall(await versions.current(limit), method, parameters));
        const { headers } = await credential.headersFor(false, limit);
        return openByteSocket(endpoint, { path, headers, name: method }, connectionTo(endpoint).open, limit);
      });
    },
    async upload(target, file, checks, call) {
      const method = 'POST /nodes/{node}/storage/{storage}/upload';
      const [node, storage] = [encodeURIComponent(target.node), encodeURIComponent(target.storage)];
      const path = `/nodes/${node}/storage/${storage}/upload`;
      const fields: [string, string][] = [['content', target.content]];
      // In this order alone: pveproxy takes any other for one malformed part.
      if (checks.sha256 !== undefined) {
        fields.push(['checksum-algorithm', 'sha256'], ['checksum', checks.sha256]);
      }
      const boundary = `drover-${Buffer.from(random.bytes(16)).toString('hex')}`;
      const timeoutMs = defaultTimeoutMs + Math.ceil(file.bytes / slowestBytesPerMs);
      const budget = budgetOf(call, { cluster, method, node: target.node }, timeoutMs);
      const upid = await perform(uploadOf(path, fields, file, boundary), { via: target.node, ...budget });
      if (typeof upid === 'string') return upid;
      throw new DroverError('internal', `${method}: wanted a task's id, found ${typeof upid}`, {
        reason: 'garbage',
        subject: { cluster, method },
      });
    },
    endpoints: endpoints.list,
    learn(members) {
      endpoints.learn(members);
      const known = new Set(endpoints.list().map(({ address }) => address));
      for (const [address, { http }] of connections) {
        if (known.has(address)) continue;
        connections.delete(address);
        void http.retire();
      }
    },
    async close() {
      closing.abort(closed(cluster));
      await Promise.all([...connections.values()].map(({ http }) => http.destroy(closed(cluster))));
      connections.clear();
    },
  };
}

/** Cut off, or apart from a cluster that it may be of: another may have the majority. */
function speaksForItself(status: unknown): boolean {
  const { quorate, name } = parseMembership(status);
  return !quorate || name === '';
}

type Headers = Readonly<Record<string, string>>;
type Send = (
  endpoint: Endpoint,
  request: HttpRequest,
  headers: Headers,
  limit: AbortSignal,
) => Promise<Answer>;

interface Way {
  readonly endpoints: Endpoints;
  readonly send: Send;
  readonly budget: Budget;
  readonly limit: AbortSignal;
}

const budgetOf = (call: CallOptions, subject: CallSubject, timeoutMs: number): Budget => ({
  signal: call.signal,
  timeoutMs: call.timeoutMs ?? timeoutMs,
  subject,
  ...(call.via === undefined ? {} : { via: call.via }),
  ...(call.onEndpoint === undefined ? {} : { onEndpoint: call.onEndpoint }),
});

const closed = (cluster: string): DroverError =>
  new DroverError('unavailable', `the connection to cluster ${cluster} was closed`, {
    reason: 'closed',
    subject: { cluster },
  });

/** A 401 has done nothing, whatever its words are: with a new ticket the call is made once more. */
async function letIn(
  request: HttpRequest,
  way: Way & { readonly credential: Credential },
): Promise<{ answer: Answer; endpoint: Endpoint }> {
  const { credential, limit } = way;
  const { headers, mark } = await beforeSending(credential.headersFor(request.write, limit));
  const first = await ask(request, headers, way);
  if (first.answer.status !== 401 || !(await beforeSending(credential.refused(mark, limit)))) return first;
  const renewed = await beforeSending(credential.headersFor(request.write, limit));
  return ask(request, renewed.headers, way);
}

/** Asks one endpoint after another: reads until one answers, writes only where nothing was sent. */
async function ask(
  request: HttpRequest,
  headers: Headers,
  way: Way,
): Promise<{ answer: Answer; endpoint: Endpoint }> {
  const { endpoints, send, budget, limit } = way;
  const waiting = [...endpoints.candidates(budget.via)];
  const cutOff = new Set<Endpoint>();
  let notReady: { answer: Answer; endpoint: Endpoint } | undefined;
  for (let endpoint = waiting.shift(); endpoint !== undefined; endpoint = waiting.shift()) {
    try {
      const answer = await send(endpoint, request, headers, limit);
      // What another node says through this one is no word of its own.
      const isPassedOn = ![undefined, endpoint.node].includes(budget.subject.node) && endpoint.node !== '';
      if (isPassedOn || !isNotReady(answer)) {
        endpoints.answered(endpoint);
        return { answer, endpoint };
      }
      notReady = { answer, endpoint };
      endpoints.silent(endpoint, 'it cannot read the files of its cluster now');
    } catch (error) {
      const next = afterFailure(error, endpoint, way);
      // A kept connection may have ended just now: once more, and that is a new one.
      if (next === 'cut-off' && (request.write || cutOff.has(endpoint))) throw error;
      if (next === 'cut-off') waiting.push(endpoint);
      cutOff.add(endpoint);
    }
  }
  if (notReady !== undefined) return notReady;
  throw endpoints.noneAnswers();
}

/** Throws where no other endpoint could do better. */
function afterFailure(error: unknown, endpoint: Endpoint, way: Way): 'not-sent' | 'cut-off' {
  const { endpoints, budget, limit } = way;
  if (limit.aborted) {
    // Slow is not dead; but whoever asks next may have more luck elsewhere.
    if (!budget.signal.aborted) endpoints.silent(endpoint, `no answer within ${budget.timeoutMs / 1000} s`);
    throw error;
  }
  const lost = error instanceof DroverError && ['connection', 'certificate'].includes(error.reason);
  if (!lost) throw error;
  if (error.subject['acted'] === 'no') {
    endpoints.failed(endpoint, error);
    return 'not-sent';
  }
  endpoints.silent(endpoint, error.message);
  return 'cut-off';
}
