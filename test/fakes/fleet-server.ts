/** A control plane that answers from literals over real mutual TLS on loopback: what the command line's tests talk to. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { DroverError } from '#shared/errors.ts';
import {
  type ApplyResult,
  Event,
  ExplainInstanceResponse,
  ExplainPortabilityResponse,
  FleetServiceService,
  GetFleetResponse,
  GetRoutingResponse,
  Instance,
  Node,
  Network,
  NodeImage,
  type NodePullProgress,
  NodeServiceService,
  Operation,
  OperationServiceService,
  OperationState,
  PlanResponse,
  SnapshotResult,
  Workload,
  type WorkloadDocument,
  Volume,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { ClusterServiceService } from '#shared/gen/drover/fleet/v1/cluster.ts';
import { GuestStats, LogStream, Phase } from '#shared/gen/drover/model/v1/model.ts';
import { type Handlers, mount } from '#shared/rpc-server.ts';
import { createAuthority, createKey, issueCertificate } from '#shared/tls.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import { type ClusterCalls, clusterHandlers, drainNode } from './fleet-clusters.ts';

const fleetId = '01980000-0000-7000-8000-000000000001';
const createdAtMs = 1_795_420_698_435n;
const metadata = (name: string) => ({
  name,
  project: 'default',
  id: '01980000-0000-7000-8000-0000000000aa',
  generation: 1n,
  revision: 7n,
  createdAtMs,
});

export const fakeNode = Node.fromPartial({
  metadata: { ...metadata('h1'), labels: { zone: 'a' } },
  connected: true,
  ready: true,
  facts: {
    name: 'h1',
    cpuCount: 2,
    memoryMib: 2048,
    runtimes: [{ name: 'crun', version: '1.8.1', healthy: true }],
  },
  instances: 1,
});
const clusterNode = Node.fromPartial({
  ...fakeNode,
  metadata: metadata('lab-pve1'),
  cluster: 'lab',
  facts: { ...fakeNode.facts, name: 'lab-pve1', cpuCount: 4, memoryMib: 8192 },
  reserved: { cpuMillicores: 0, memoryMib: 1024, diskMib: 0, pids: 0 },
  capacity: { memoryAvailableMib: 5120, diskFreeMib: 1024, cpuUsedMillicores: 1200, othersMemoryMib: 4096 },
});
export const fakeWorkload = Workload.fromPartial({
  metadata: metadata('web'),
  spec: { image: 'registry.example/web:1.4', replicas: 1 },
  status: { wanted: 1, running: 1, ready: 1, state: 'ready', runtime: 'crun' },
});
export const fakeInstance = Instance.fromPartial({
  metadata: metadata('web-x7k2p'),
  workload: 'web',
  node: 'h1',
  observed: {
    phase: Phase.PHASE_RUNNING,
    pid: 42,
    startedAtMs: createdAtMs,
    bonds: [
      { kind: 'only', nodes: ['h1'], because: 'HA keeps it to h1 (rule "near")' },
      { kind: 'along', nodes: [], because: 'HA moves db along (rule "pair")' },
    ],
  },
  // What a hostile guest or node might send: it must not reach a terminal.
  message: 'all \u001b[31mred\u001b[0m',
});

function stateNamed(id: string): OperationState {
  if (/^op-(stuck|slow)/.test(id)) return OperationState.OPERATION_STATE_RUNNING;
  const isSuperseded = id.startsWith('op-overtaken');
  return OperationState[isSuperseded ? 'OPERATION_STATE_SUPERSEDED' : 'OPERATION_STATE_SUCCEEDED'];
}

/** The name of the operation says how it goes. */
export const operationNamed = (id: string): Operation =>
  Operation.fromPartial({
    id,
    kind: 'apply',
    project: 'default',
    workload: id.includes('-') ? (id.split('-')[1] ?? '') : 'web',
    state: stateNamed(id),
    done: 1,
    total: 1,
    message: id.startsWith('op-stuck') ? 'not placed: 0 of 2 nodes fit' : '',
    blocked: id.startsWith('op-stuck'),
    blockedBy: id.startsWith('op-stuck') ? 'unplaceable' : '',
    createdAtMs,
    endedAtMs: createdAtMs + 900n,
  });

async function* each<T>(...values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

const missing = (kind: string, name: string): DroverError =>
  new DroverError('not-found', `no ${kind} "${name}"`, {
    nextStep: 'did you mean "web"?',
    subject: { [kind]: name },
  });

const resultFor = ({ metadata: head }: WorkloadDocument): ApplyResult => {
  if (head?.name === 'raced') throw new DroverError('aborted', 'the workload has changed since the plan');
  if (head?.name === 'secret') throw new DroverError('permission-denied', 'viewer/eve may not apply');
  const workload = {
    ...fakeWorkload,
    metadata: fakeWorkload.metadata && { ...fakeWorkload.metadata, name: head?.name ?? '' },
  };
  return { workload, change: 'created', operationId: `op-${head?.name}` };
};

const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'not for people');
};

const rules = [
  {
    name: 'system',
    labels: {},
    image: { match: { $case: 'glob' as const, value: 'lxc:*' } },
    runtime: 'lxc',
  },
];

const fakeSnapshot = SnapshotResult.fromPartial({
  instance: 'web-x7k2p',
  node: 'h1',
  snapshot: { name: 'first', kind: 'manual', createdAtMs, volumes: [{ name: 'root', bytes: 4096n }] },
});

const fakeNetwork = Network.fromPartial({
  metadata: { name: 'lan', createdAtMs },
  spec: {
    subnets: [{ cidr: '10.20.0.0/24', gateway: '10.20.0.1', first: '10.20.0.2', last: '10.20.0.254' }],
  },
  held: [{ address: '10.20.0.2', instance: 'web-x7k2p' }],
  heldCount: 1,
  free: 252n,
});

/** What was asked, in order. */
const freezes: string[] = [];

const fleetHandlers: Handlers<typeof FleetServiceService> = {
  console: async function* (requests) {
    yield { output: { $case: 'started', value: { execId: 'c1' } } };
    yield { output: { $case: 'stdout', value: Buffer.from('login: ') } };
    for await (const { input } of requests) {
      const text = input?.$case === 'resize' ? `size ${input.value.columns}x${input.value.rows}` : '';
      if (text !== '') yield { output: { $case: 'stdout', value: Buffer.from(text) } };
      if (input?.$case !== 'stdin') continue;
      yield { output: { $case: 'stdout', value: Buffer.concat([Buffer.from('heard '), input.value]) } };
    }
  },
  pauseInstance: async () => ({ state: undefined }),
  resumeInstance: async () => ({ state: undefined }),
  freezeInstance: async ({ instance }) => {
    if (instance === 'web-crun1') throw new DroverError('unimplemented', 'its node freezes no file systems');
    if (instance === 'web-lost1') throw new DroverError('unavailable', 'the answer was lost');
    freezes.push(`freeze ${instance}`);
    return { already: instance === 'web-cold1' };
  },
  thawInstance: async ({ instance }) => {
    freezes.push(`thaw ${instance}`);
    return {};
  },
  streamStats: () => each(GuestStats.fromPartial({ instanceId: 'i', displayName: 'web-x7k2p', pids: 2 })),
  createSnapshot: () => each(fakeSnapshot),
  listSnapshots: () => each(fakeSnapshot),
  rollbackSnapshot: () => each(fakeSnapshot),
  removeSnapshot: () => each(fakeSnapshot),
  listVolumes: () =>
    each(
      Volume.fromPartial({ metadata: { name: 'web-data-0' }, workload: 'web', claim: 'data', node: 'h1' }),
    ),
  removeVolume: async () => ({}),
  listNetworks: () => each(fakeNetwork),
  getNetwork: async ({ name }) => {
    if (name !== 'lan') throw missing('network', name);
    return { network: fakeNetwork };
  },
  removeNetwork: async () => ({}),
  getRouting: async () => GetRoutingResponse.fromPartial({ rules, defaultRuntime: 'crun', revision: 7n }),
  putRouting: async () => ({ revision: 8n, warnings: ['rules "a" and "b" overlap'] }),
  getFleet: async () =>
    GetFleetResponse.fromPartial({ fleetId, version: '0.1.0', caller: 'admin/root', revision: 7n }),
  apply: async ({ documents, networks }) => {
    parseApplyDocuments({ documents, networks });
    return {
      results: documents.map(resultFor),
      networks: networks.map(() => ({ network: fakeNetwork, change: 'created' })),
    };
  },
  plan: async ({ documents, networks }) =>
    PlanResponse.fromPartial({
      revision: 7n,
      networks: networks.map(() => ({
        name: 'lan',
        change: 'create',
        fields: [{ field: 'bridge', before: '', after: 'drv-lan (made by Drover)' }],
      })),
      workloads: documents.map(({ metadata: head }) => ({
        name: head?.name ?? '',
        change: head?.name === 'same' ? 'none' : 'change',
        fields: head?.name === 'same' ? [] : [{ field: 'env.MODE', before: '', after: 'test' }],
      })),
    }),
  getWorkload: async ({ name }) => {
    if (name !== 'web') throw missing('workload', name);
    return { workload: fakeWorkload };
  },
  listWorkloads: () => each(fakeWorkload),
  scaleWorkload: async ({ name }) => ({
    result: { workload: fakeWorkload, change: 'changed', operationId: `op-${name}` },
  }),
  deleteWorkload: async ({ name, destroyAdopted }) => {
    if (name === 'intranet' && !destroyAdopted)
      throw new DroverError('failed-precondition', 'lab/101 of intranet was adopted', {
        nextStep: 'drover release intranet keeps it; --destroy-adopted removes it',
      });
    return { operationId: `op-${name}` };
  },
  getInstance: async ({ instance }) => {
    if (instance !== 'web-x7k2p') throw missing('instance', instance);
    return { instance: fakeInstance };
  },
  listInstances: () => each(fakeInstance),
  explainInstance: async () =>
    ExplainInstanceResponse.fromPartial({
      instance: fakeInstance,
      decision: {
        instance: 'web-x7k2p',
        node: 'h1',
        verdicts: [{ node: 'h1', fits: true, score: 50, reason: 'free' }],
      },
      nextStep: 'nothing to do',
    }),
  explainPortability: async ({ workload, runtime }) => {
    if (workload !== 'web') throw missing('workload', workload);
    if (runtime === 'docker') throw new DroverError('invalid-argument', 'there is no runtime "docker"');
    return ExplainPortabilityResponse.fromPartial({
      from: 'lxc',
      to: runtime,
      findings: [
        { subject: 'host name', outcome: 'carries over', before: 'web-x7k2p', after: 'web-x7k2p' },
        {
          subject: 'ports',
          outcome: 'stands in the way',
          before: '80:80/tcp',
          after: 'none\u001b[2J',
          advice: 'take them out',
        },
      ],
      steps: [
        { name: 'stop', does: 'ask its init to end', lost: 'processes' },
        { name: 'start', does: 'start it', lost: '' },
      ],
    });
  },
  signalInstance: async () => ({}),
  exec: async function* (requests) {
    const typed: Uint8Array[] = [];
    yield { output: { $case: 'started', value: { execId: 'e1' } } };
    for await (const { input } of requests) {
      if (input?.$case === 'start' && input.value.tty)
        yield { output: { $case: 'stdout', value: Buffer.from('$ ') } };
      if (input?.$case === 'stdin') typed.push(input.value);
      // What a terminal makes the end of input.
      if (input?.$case === 'stdin' && input.value.includes(4)) break;
      if (input?.$case === 'stdinEnd') break;
    }
    yield { output: { $case: 'stdout', value: Buffer.concat([Buffer.from('got '), ...typed]) } };
    yield {
      output: { $case: 'exit', value: { code: 137, unknown: false, outOfMemory: false, atMs: createdAtMs } },
    };
  },
  streamLogs: () =>
    each({
      atNs: createdAtMs * 1_000_000n,
      stream: LogStream.LOG_STREAM_STDOUT,
      content: Buffer.from('hello \u001b[2J'),
      partial: false,
      instance: 'web-x7k2p',
    }),
  watch: () => each(),
  listEvents: () =>
    each(
      Event.fromPartial({
        revision: 7n,
        atMs: createdAtMs,
        type: 'instance.placed',
        severity: 'info',
        message: 'on h1',
      }),
    ),
};

/** By the name of the image: what nodes may do with it. */
async function* pullImage(reference: string, signal: AbortSignal): AsyncGenerator<NodePullProgress> {
  if (reference.includes('missing')) throw new DroverError('not-found', 'no such image');
  const started = { bytesDone: 0n, bytesTotal: 9n, done: false, digest: '', error: '' };
  yield { node: 'h1', step: 'fetching', ...started };
  if (reference.includes('slow')) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  if (reference.endsWith(':none')) yield { node: 'h1', step: '', ...started, error: 'no room' };
  else yield { node: 'h1', step: 'ready', ...started, bytesDone: 9n, done: true };
  if (reference.endsWith(':partly')) yield { node: 'h2', step: '', ...started, error: 'no room' };
}

const nodeHandlers: Handlers<typeof NodeServiceService> = {
  createJoinToken: async () => ({ token: 'drover1.fake', expiresAtMs: createdAtMs }),
  join: refuse,
  renewCertificate: refuse,
  listNodes: () => each(fakeNode),
  getNode: async ({ name }) => {
    if (name === 'lab-pve1') return { node: clusterNode };
    if (name !== 'h1') throw missing('node', name);
    return { node: fakeNode };
  },
  cordonNode: async () => ({ node: fakeNode }),
  drainNode,
  uncordonNode: async () => ({ node: fakeNode }),
  removeNode: async () => ({ released: ['web-x7k2p'] }),
  pullImage: ({ reference }, { signal }) => pullImage(reference, signal),
  removeImage: ({ image }) =>
    each({ node: 'h1', freedBytes: 9n, error: image.includes('used') ? '1 instance is made from it' : '' }),
  listImages: () =>
    each(NodeImage.fromPartial({ node: 'h1', image: { digest: `sha256:${'a'.repeat(64)}`, sizeBytes: 9n } })),
};

const operationHandlers: Handlers<typeof OperationServiceService> = {
  listOperations: () => each(operationNamed('op-web')),
  getOperation: async ({ id }) => ({ operation: operationNamed(id) }),
  watchOperation: async function* ({ id }, { signal }) {
    const operation = operationNamed(id);
    yield operation;
    if (operation.state !== OperationState.OPERATION_STATE_RUNNING) return;
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  },
};

export interface FakeFleetServer extends AsyncDisposable {
  /** As a control plane writes admin.yaml; JSON is YAML, too. */
  readonly admin: string;
  readonly clusterCalls: ClusterCalls;
  /** "freeze web-x7k2p", oldest first. */
  readonly freezes: string[];
}

export async function startFleetServer(nowMs: number): Promise<FakeFleetServer> {
  const lifeMs = 3_600_000;
  const authority = await createAuthority({ commonName: 'test', nowMs, lifeMs });
  const issue = async (role: 'admin' | 'control-plane') => {
    const subject = await createKey();
    const identity = { fleetId, role, name: 'root' };
    const certificate = await issueCertificate({
      authority,
      subject,
      identity,
      hosts: ['127.0.0.1'],
      nowMs,
      lifeMs,
    });
    return { cert: certificate.pem, key: subject.keyPem };
  };
  const [own, admin] = [await issue('control-plane'), await issue('admin')];
  const ca = authority.certificate.pem;
  const pair = { cert_chain: Buffer.from(own.cert), private_key: Buffer.from(own.key) };
  const server = new Server();
  const open = { guard: <T>(context: T): T => context };
  mount(server, FleetServiceService, fleetHandlers, open);
  mount(server, NodeServiceService, nodeHandlers, open);
  mount(server, OperationServiceService, operationHandlers, open);
  const clusterCalls: ClusterCalls = { added: [] };
  mount(server, ClusterServiceService, clusterHandlers(clusterCalls), open);
  const credentials = ServerCredentials.createSsl(Buffer.from(ca), [pair], true);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const context = { name: 'lab', address: `127.0.0.1:${port}`, ca, certificate: admin.cert, key: admin.key };
  return {
    admin: JSON.stringify(context),
    clusterCalls,
    freezes,
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  };
}
