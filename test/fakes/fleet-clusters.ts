/** What the control plane that answers from literals says of clusters. */
import { DroverError } from '#shared/errors.ts';
import {
  Adoption,
  Cluster,
  type ClusterServiceService,
  type ClusterStatus,
  Guest,
  Release,
  Template,
} from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Handlers } from '#shared/rpc-server.ts';

const createdAtMs = 1_795_420_698_435n;
export const shownFingerprint = Array.from({ length: 32 }, () => 'AB').join(':');
const status: ClusterStatus = {
  clusterName: 'office',
  version: '9.2.11',
  connected: true,
  quorate: true,
  endpoints: [
    { address: '10.0.0.11:8006', problem: '' },
    { address: '10.0.0.12:8006', problem: 'does not answer' },
  ],
  nodes: ['lab-pve1', 'lab-pve2'],
  guests: 2,
  ownGuests: 1,
  lastSeenAtMs: createdAtMs,
  message: '',
  rights: [
    { privilege: 'VM.Allocate', path: '/vms', granted: true, neededFor: 'making guests', optional: false },
  ],
};
const fakeCluster = Cluster.fromPartial({
  metadata: { name: 'lab', createdAtMs },
  endpoints: ['10.0.0.11:8006'],
  trust: 'fingerprints',
  fingerprints: [shownFingerprint],
  identity: 'drover@pve!fleet',
  status,
});
const guest = (vmid: number, changes: Partial<Guest> = {}): Guest =>
  Guest.fromPartial({
    cluster: 'lab',
    vmid,
    kind: 'lxc',
    // What a hostile guest may be called: it must not reach a terminal.
    name: 'old\u001b[31mweb',
    node: 'lab-pve1',
    status: 'running',
    cpuCount: 1,
    memoryMib: 512,
    diskMib: 4096,
    ...changes,
  } as Guest);

async function* each<T>(...values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

const adopted = (vmid: number, name: string): Adoption =>
  Adoption.fromPartial({
    guest: guest(vmid),
    adopted: true,
    document: {
      metadata: { name, project: 'default' },
      spec: {
        image: `proxmox:guest/${vmid}`,
        runtime: 'proxmox-lxc',
        replicas: 1,
        resources: { memoryMib: 512 },
      },
    },
    instance: `${name}-x7k2p`,
    notes: ['it has 512 MiB\nof swap'],
  });
const skipped = (vmid: number, because: string, errorKind = ''): Adoption =>
  Adoption.fromPartial({ guest: guest(vmid), skipped: because, errorKind });

/** By the name of the cluster: how it goes. */
function checkName(name: string): void {
  if (name === 'lost') throw new DroverError('not-found', 'there is no cluster "lost"');
  if (name === 'poor')
    throw new DroverError(
      'failed-precondition',
      'drover@pve!fleet lacks rights in poor\n  VM.Allocate on /vms',
      {
        reason: 'rights-missing',
        nextStep: 'or go on without: --accept-missing-rights',
      },
    );
}

export interface ClusterCalls {
  /** What was taken in, newest last. */
  readonly added: {
    readonly name: string;
    readonly secret: string;
    readonly fingerprints: readonly string[];
  }[];
}

const template = (vmid: number, patch: Partial<Template>): Template =>
  Template.fromPartial({ cluster: 'lab', vmid, kind: 'lxc', state: 'ready', node: 'lab-pve1', ...patch });

export const clusterHandlers = (calls: ClusterCalls): Handlers<typeof ClusterServiceService> => {
  const take: Handlers<typeof ClusterServiceService>['addCluster'] = async ({ name, credential, trust }) => {
    checkName(name);
    const secret = (credential?.tokenSecret ?? '') || (credential?.password ?? '');
    calls.added.push({ name, secret, fingerprints: trust?.fingerprints ?? [] });
    return { cluster: fakeCluster };
  };
  return {
    showFingerprint: async ({ endpoint }) => ({ endpoint, fingerprint: shownFingerprint }),
    addCluster: take,
    updateCluster: (request, context) => take(request, context),
    testCluster: async ({ name }) => {
      checkName(name);
      return { status: name === 'cut' ? { ...status, connected: false, message: 'nobody answers' } : status };
    },
    listClusters: () => each(fakeCluster),
    getCluster: async ({ name }) => {
      checkName(name);
      return { cluster: fakeCluster };
    },
    removeCluster: async ({ name, releaseGuests }) => {
      if (name === 'full' && !releaseGuests)
        throw new DroverError(
          'failed-precondition',
          'needs a cluster without instances, full has 1: web-x7k2p',
        );
      return { released: releaseGuests ? ['web-x7k2p'] : [], nodes: ['lab-pve1'] };
    },
    listGuests: () => each(guest(105, { instance: 'web-x7k2p' })),
    createTemplate: async ({ name, source }) => {
      if (name === 'taken')
        throw new DroverError('already-exists', 'there is a template taken in lab already');
      return { template: template(9000, { name, cluster: source.split('/')[0] ?? '', own: true }) };
    },
    listTemplates: ({ cluster }) =>
      cluster === 'images'
        ? each(
            template(9000, { name: 'debian', own: true }),
            template(9001, { name: 'twice' }),
            template(9002, { name: 'twice' }),
            template(9003, { name: 'twice', kind: 'qemu' }),
            template(9004, { name: '105' }),
            template(9005, { name: 'half', state: 'failed', message: 'no space left', own: true }),
          )
        : each(),
    removeTemplate: async ({ cluster, template: called }) => {
      if (called === 'theirs')
        throw new DroverError('failed-precondition', `Drover did not make ${cluster}/theirs`);
      return { template: template(9000, { cluster, name: called, own: true }) };
    },
    planClone: async ({ source, name }) => {
      if (name === 'web') throw new DroverError('already-exists', 'there is a workload web already');
      const vmid = Number(source.split('/')[1] ?? 105);
      const { document } = adopted(vmid, name);
      return { guest: guest(vmid), document, notes: ['its address 10.20.0.5 in lan\nis not taken along'] };
    },
    async *adoptGuests({ vmid, name }) {
      if (vmid === 404) throw new DroverError('not-found', 'there is no guest 404 in lab');
      if (vmid !== 0) return yield adopted(vmid, name || 'old-web');
      yield adopted(105, 'old-web');
      yield skipped(106, 'it is a template: an image, and no guest');
      yield skipped(107, 'nobody answers', 'unavailable');
    },
    releaseInstances: ({ target }) =>
      each(
        Release.fromPartial({ instance: `${target}-x7k2p`, node: 'lab-pve1', cluster: 'lab', vmid: 105 }),
        ...(target === 'half' ? [Release.fromPartial({ instance: 'half-2', error: 'nobody answers' })] : []),
      ),
    getConsoleTicket: async () => ({
      url: 'https://10.0.0.11:8006/?console=lxc',
      kind: 'terminal',
      websocketUrl: 'wss://10.0.0.11:8006/api2/json/nodes/pve1/lxc/105/vncwebsocket',
      ticket: 'PVEVNC:x',
      user: 'drover@pve',
    }),
  };
};

/** By the name of the node: what moves. */
export async function* drainNode({
  name,
  dryRun,
}: {
  readonly name: string;
  readonly dryRun: boolean;
}): AsyncGenerator<DrainProgress> {
  const said = { target: 'lab-pve2', message: '1 of 1 nodes fit', errorKind: '' };
  const one = { instance: 'web-x7k2p', ...said, way: 'live' };
  if (name === 'h9') throw new DroverError('not-found', 'there is no node h9');
  if (dryRun) yield { ...one, state: 'would-move' };
  else if (name !== 'stuck') {
    yield { ...one, state: 'moving' };
    yield { ...one, state: 'moved', message: 'from h1, live' };
  }
  if (name === 'h1') return;
  const errorKind = 'failed-precondition';
  yield {
    instance: 'db-12345',
    state: 'stays',
    target: '',
    message: 'its disk is local',
    errorKind,
    way: '',
  };
}
