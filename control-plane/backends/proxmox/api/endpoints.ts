import { isIP } from 'node:net';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { ClusterTrust } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { type Backoff, createBackoff } from '#shared/retry.ts';
import type { ClusterMember } from '../cluster-api.ts';
import { type Address, parseEndpoint, usualPort } from './addresses.ts';

/** One node's API. */
export interface Endpoint extends Address {
  /** "10.0.0.11:8006". */
  readonly address: string;
  /** Its name in the cluster; empty: not known. */
  readonly node: string;
  readonly trust: ClusterTrust;
}

/**
 * The endpoints of one cluster and how they feel. One that cannot be connected to rests, longer each time,
 * while the others are asked; when its rest is over it is tried aside. A call that is slow or was cut off
 * says nothing of the endpoint: only the order changes.
 */
export interface Endpoints {
  /** Those to ask now, the best first; empty: all of them rest. */
  candidates(via?: string): readonly Endpoint[];
  answered(endpoint: Endpoint): void;
  /** No connection, or not with the server that was pinned. */
  failed(endpoint: Endpoint, error: DroverError): void;
  /** It took a call and did not end it: the next call prefers another. */
  silent(endpoint: Endpoint, problem: string): void;
  /** It answers, but of a part without the majority: the next call prefers another. */
  outvoted(endpoint: Endpoint): void;
  list(): readonly { readonly address: string; readonly problem: string }[];
  /** All members as the cluster tells them: those that were learned before and are not among them go. */
  learn(members: readonly ClusterMember[]): void;
  /** What to say when none of them could be asked. */
  noneAnswers(): DroverError;
}

interface State {
  endpoint: Endpoint;
  readonly given: boolean;
  readonly backoff: Backoff;
  restsUntilMs: number;
  probing: boolean;
  /** It left a call unanswered: whether it is there is looked up. */
  suspected: boolean;
  problem: string;
  error: DroverError | undefined;
}

const firstRestMs = 1000;
const longestRestMs = 60_000;

export function createEndpoints(options: {
  readonly cluster: string;
  readonly given: readonly string[];
  readonly trust: ClusterTrust;
  readonly clock: Clock;
  readonly random: Random;
  /** Connects and goes: throws what keeps it from it. */
  probe(endpoint: Endpoint): Promise<void>;
}): Endpoints {
  const { cluster, clock, random, trust } = options;
  const states = new Map<string, State>();
  let order: readonly string[] = [];

  const add = (endpoint: Endpoint, given: boolean): void => {
    states.set(endpoint.address, {
      endpoint,
      given,
      backoff: createBackoff({ firstMs: firstRestMs, maxMs: longestRestMs, random }),
      restsUntilMs: 0,
      probing: false,
      suspected: false,
      problem: '',
      error: undefined,
    });
    order = [...order, endpoint.address];
  };
  const given = options.given.map((text) => parseEndpoint(text));
  for (const parsed of given) {
    if (!states.has(parsed.address)) add({ ...parsed, node: '', trust }, true);
  }
  const sorted = (): readonly State[] => order.flatMap((address) => states.get(address) ?? []);
  const isUp = ({ error }: State): boolean => error === undefined;

  function answered(endpoint: Endpoint): void {
    const state = states.get(endpoint.address);
    if (state === undefined) return;
    state.backoff.reset();
    Object.assign(state, { restsUntilMs: 0, suspected: false, problem: '', error: undefined });
  }

  function failed(endpoint: Endpoint, error: DroverError): void {
    const state = states.get(endpoint.address);
    // Calls that failed together tell of one failure.
    if (state === undefined || (state.error !== undefined && clock.monotonicMs() < state.restsUntilMs))
      return;
    state.restsUntilMs = clock.monotonicMs() + state.backoff.nextMs();
    state.suspected = false;
    state.error = error;
    state.problem = error.message;
  }

  function toTheEnd(address: string): void {
    order = [...order.filter((other) => other !== address), address];
  }

  async function tryAside(state: State): Promise<void> {
    state.probing = true;
    try {
      await options.probe(state.endpoint);
      answered(state.endpoint);
    } catch (error) {
      failed(state.endpoint, error as DroverError);
    } finally {
      state.probing = false;
    }
  }

  return {
    answered,
    failed,
    candidates(via) {
      const nowMs = clock.monotonicMs();
      const up = sorted().filter(isUp);
      const rested = sorted().filter((state) => !isUp(state) && state.restsUntilMs <= nowMs);
      if (up.length === 0) return rested.map(({ endpoint }) => endpoint);
      const suspects = up.filter(({ suspected, restsUntilMs }) => suspected && restsUntilMs <= nowMs);
      for (const state of [...rested, ...suspects]) if (!state.probing) void tryAside(state);
      const own = up.filter(({ endpoint }) => via !== undefined && endpoint.node === via);
      return [...own, ...up.filter((state) => !own.includes(state))].map(({ endpoint }) => endpoint);
    },
    silent(endpoint, problem) {
      const state = states.get(endpoint.address);
      if (state === undefined) return;
      Object.assign(state, { problem, suspected: true, restsUntilMs: clock.monotonicMs() + firstRestMs });
      toTheEnd(endpoint.address);
    },
    outvoted: ({ address }) => {
      if (states.has(address)) toTheEnd(address);
    },
    list: () => sorted().map(({ endpoint: { address }, problem }) => ({ address, problem })),
    learn(members) {
      const hosts = new Set(members.map(({ address }) => parseEndpoint(address).host));
      const portOf = portsOf(given, hosts);
      const told = new Map(members.map((member) => [parseEndpoint(member.address, portOf).address, member]));
      for (const [address, { given }] of states) {
        if (given || told.has(address)) continue;
        states.delete(address);
        order = order.filter((other) => other !== address);
      }
      for (const [address, { fingerprint, node = '' }] of told) {
        const state = states.get(address);
        // What a person pinned stays: a certificate that changed under it is theirs to accept.
        const own = state?.given === true ? trust : trustOf(trust, fingerprint);
        if (state === undefined) add({ ...parseEndpoint(address), node, trust: own }, false);
        else state.endpoint = keepOrReplace(state.endpoint, node, own);
      }
    },
    noneAnswers: () => noneAnswers(cluster, sorted()),
  };
}

/**
 * That of the address that was given for a host; else the one that all of them have. An address that is no
 * member's leads to it from elsewhere, as the port of a router does, and says nothing of the others.
 */
function portsOf(given: readonly Address[], members: ReadonlySet<string>): (host: string) => number {
  const direct = given.filter(({ host }) => members.has(host) || isIP(host) === 0);
  const [first, ...others] = new Set(direct.map(({ port }) => port));
  const common = first === undefined || others.length > 0 ? usualPort : first;
  return (host) => given.find((each) => each.host === host)?.port ?? common;
}

/** An authority speaks for every node; a fingerprint for one, and the cluster itself told it. */
const trustOf = (trust: ClusterTrust, fingerprint: string | undefined): ClusterTrust =>
  trust.kind === 'authority' || fingerprint === undefined
    ? trust
    : { kind: 'fingerprints', sha256: [fingerprint.toUpperCase()] };

/** The same object where nothing changed: connections hang on it. */
const keepOrReplace = (known: Endpoint, node: string, trust: ClusterTrust): Endpoint =>
  known.node === node && JSON.stringify(known.trust) === JSON.stringify(trust)
    ? known
    : { ...known, node, trust };

function noneAnswers(cluster: string, states: readonly State[]): DroverError {
  const errors = states.flatMap(({ error }) => error ?? []);
  const certificate = errors.find(({ reason }) => reason === 'certificate');
  if (certificate !== undefined) {
    return new DroverError('failed-precondition', certificate.message, {
      reason: 'certificate',
      subject: { ...certificate.subject, cluster, acted: 'no' },
      nextStep: certificate.nextStep,
      cause: certificate,
    });
  }
  const all =
    states.length === 1 ? 'the only known endpoint' : `none of the ${states.length} known endpoints`;
  const problems = states.map(({ endpoint: { address }, problem }) =>
    problem.startsWith(address) ? problem : `${address}: ${problem || 'not asked'}`,
  );
  const shown = problems.slice(0, 5).join('; ') + (problems.length > 5 ? '; …' : '');
  return new DroverError(
    'unavailable',
    `${all} of cluster ${cluster} ${states.length === 1 ? 'does not answer' : 'answers'} (${shown})`,
    {
      reason: 'connection',
      subject: { cluster, acted: 'no' },
      nextStep: `check this host's own network first, then the nodes of ${cluster}`,
      cause: errors[0],
    },
  );
}
