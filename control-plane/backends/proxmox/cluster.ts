import type { Clock } from '#shared/clock.ts';
import type { Log } from '#shared/log.ts';
import type { Cluster, ClusterGuestView, ClusterStatus } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { Store } from '../../store/store.ts';
import type { Observation } from '../backend.ts';
import { type Adoptions, createAdoptions } from './life/adopt.ts';
import { openClusterApi } from './api/api.ts';
import type { ClusterApi, OpenClusterApi } from './cluster-api.ts';
import { type ClusterMemory, type ClusterTools, emptyMemory } from './cluster-memory.ts';
import { createConsole, type OpenConsole } from './inside/console.ts';
import { createRun, type RunCommand } from './inside/exec.ts';
import { createFence, fencedApi, heldWords } from './identity/fence.ts';
import { createFreezing, type Freezing } from './inside/freeze.ts';
import { createFindMarked } from './identity/find-marked.ts';
import { guestKinds } from './guests/kinds.ts';
import { createHaReader } from './ha/ha-placement.ts';
import { createImages, type Images } from './images/images.ts';
import { createLimits } from './limits.ts';
import { createLook } from './life/look.ts';
import { createMarkAnew } from './identity/mark-anew.ts';
import { createMarking } from './identity/marking.ts';
import { createMoves, type Moves } from './life/migrate.ts';
import { createMissing } from './life/missing.ts';
import { createNodes, type Nodes } from './observe/nodes.ts';
import { createOrders, type Orders } from './life/orders.ts';
import { createOwnGuests, type OwnGuests } from './life/own-guests.ts';
import { createOwnTemplates, type OwnTemplates } from './templates/own-templates.ts';
import { createPoll, type Pace, type Poll } from './observe/poll.ts';
import { createPower } from './life/power.ts';
import { createRenewal } from './identity/renew-marks.ts';
import { createRefreshAddresses } from './life/refresh-addresses.ts';
import { createRelayLog } from './tasks/relay-log.ts';
import { createSettle } from './life/settle.ts';
import { findSnapshot } from './snapshots/find-snapshot.ts';
import { createSnapshots, type Snapshots } from './snapshots/snapshots.ts';
import { createStats, type ReadStats } from './observe/stats.ts';
import { createTasks } from './tasks/tasks.ts';
import { createTerminals, type OpenTerminal } from './inside/terminal.ts';
import { createVolumes, type Volumes } from './life/volumes.ts';
import type { TemplateFiles } from './images/template-file.ts';
import { createWork, type Work } from './life/work.ts';

export interface Surroundings {
  readonly store: Store;
  readonly fleetId: string;
  readonly fleetEpoch: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly pace: Pace;
  readonly openApi: OpenClusterApi;
  readonly templateFiles: TemplateFiles;
  put(observation: Observation): void;
}

/** One cluster that the fleet reaches; everything that is asked of it. */
export interface LiveCluster {
  readonly record: Cluster;
  readonly memory: ClusterMemory;
  readonly own: OwnGuests;
  readonly orders: Orders;
  readonly images: Images;
  readonly snapshots: Snapshots;
  readonly volumes: Volumes;
  readonly stats: ReadStats;
  readonly adoptions: Adoptions;
  /** As ClusterBackend has it. */
  checkSnapshot(
    guest: Pick<ClusterGuestView, 'vmid' | 'kind' | 'node'>,
    snapshot: string,
    signal: AbortSignal,
  ): Promise<void>;
  readonly moves: Moves;
  readonly openConsole: OpenConsole;
  readonly openTerminal: OpenTerminal;
  /** unimplemented, by name, where its kind of guest cannot. */
  readonly run: RunCommand;
  readonly freezing: Freezing;
  readonly templates: OwnTemplates;
  readonly nodes: Nodes;
  readonly work: Work;
  readonly poll: Poll;
  status(): ClusterStatus;
  /** Ends what is done for it; tells that its nodes are out of reach. */
  close(reason: string): Promise<void>;
}

/** How many guests are made, moved or removed at once: beyond that their locks would time out. */
const most = { perNode: 4, perStorage: 8, filesPerStorage: 3 } as const;

export const openApiOf =
  (tools: Pick<Surroundings, 'clock' | 'random'>): OpenClusterApi =>
  (name, spec) =>
    openClusterApi(name, spec, tools);

/** `open`: the API as it is; the tools have it behind the fence. */
function toolsOf(
  name: string,
  surroundings: Surroundings,
  open: ClusterApi,
  signal: AbortSignal,
): ClusterTools {
  const { store, fleetId, fleetEpoch, clock, random, log, templateFiles, put } = surroundings;
  const memory = emptyMemory();
  const api = fencedApi(open, { memory, name, fleetEpoch });
  const basis: Omit<ClusterTools, 'relay'> = {
    name,
    fleetId,
    fleetEpoch,
    store,
    clock,
    random,
    log,
    api,
    tasks: createTasks({ cluster: name, api, clock }),
    limits: createLimits(most),
    kinds: guestKinds,
    memory,
    templateFiles,
    signal,
    put,
  };
  return { ...basis, relay: createRelayLog(basis) };
}

/** Opens a cluster of the store and follows it until it is closed. */
export function openCluster(record: Cluster, surroundings: Surroundings): LiveCluster {
  const { name } = record.metadata;
  const closing = new AbortController();
  const open = surroundings.openApi(name, record.spec);
  const tools = toolsOf(name, surroundings, open, closing.signal);
  const { memory, api } = tools;
  const own = createOwnGuests(tools);
  const fence = createFence(tools);
  const look = createLook(tools, own, fence);
  const marking = createMarking(tools, look);
  const findMarked = createFindMarked(tools, own, fence);
  const power = createPower(tools, { own, look, marking });
  const images = createImages(tools);
  const settle = createSettle(tools, { own, look, findMarked, marking, power, images });
  const work = createWork(tools, { own, look, findMarked, marking, power, settle });
  const nodes = createNodes(tools, own);
  const orders = createOrders(tools, { own, power, work });
  const markAnew = createMarkAnew(tools, { own, look, marking, work });
  const missing = createMissing(tools, { own, look, findMarked, markAnew });
  const renewMarks = createRenewal(tools, { own, markAnew });
  const ha = createHaReader(tools);
  const templates = createOwnTemplates(tools);
  const poll = createPoll(tools, {
    own,
    fence,
    missing,
    addresses: createRefreshAddresses(tools, { own, look, settle }),
    renewMarks,
    nodes,
    work,
    templates,
    ha,
    pace: surroundings.pace,
  });
  const adoptions = createAdoptions(tools, { own, look, fence, marking, settle, orders, work });
  const running = poll.run();
  return {
    record,
    memory,
    own,
    orders,
    images,
    snapshots: createSnapshots(tools, { own, look, marking, orders }),
    volumes: createVolumes(tools, { own, orders }),
    stats: createStats(tools, { own, orders }),
    adoptions,
    async checkSnapshot({ vmid, kind, node: name }, snapshot, signal) {
      const { node } = orders.reach(name);
      await findSnapshot(tools, { node, vmid, kind }, snapshot, signal);
    },
    moves: createMoves(tools, { own, look, orders, ha }),
    openConsole: createConsole(tools, { look, orders }),
    openTerminal: createTerminals(tools, { own, look }),
    run: createRun(tools, { own, look }),
    freezing: createFreezing(tools, { orders, look }),
    templates,
    nodes,
    work,
    poll,
    status: () => statusOf(name, tools, own, adoptions.guests().length),
    async close(reason) {
      closing.abort(new DOMException(reason, 'AbortError'));
      await api.close();
      await running;
      memory.connected = false;
      memory.message = reason;
      nodes.tellSilent(reason);
    },
  };
}

function statusOf(
  name: string,
  { memory, api, fleetEpoch }: ClusterTools,
  own: OwnGuests,
  guests: number,
): ClusterStatus {
  const { clusterName, version, connected, quorate, lastSeenAtMs, rights, heldBy } = memory;
  const held = heldBy === undefined ? '' : heldWords(name, heldBy, fleetEpoch);
  const message = memory.message || held;
  return {
    name,
    clusterName,
    version,
    connected,
    quorate,
    endpoints: api.endpoints().map(({ address, problem }) => ({ address, problem })),
    nodes: [...memory.nodes.values()].map((node) => node.name),
    guests,
    ownGuests: own.records().length,
    lastSeenAtMs,
    message: message || (quorate ? '' : 'it has no quorum'),
    rights,
  };
}
