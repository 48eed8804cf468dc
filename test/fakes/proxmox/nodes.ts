/** Nodes: list, status, time, network. */
import { refusal } from './failure.ts';
import { seenOnline, viewOf } from './node-model.ts';
import type { WorldNode } from './node-model.ts';
import { nodeFigures } from './resource-rows.ts';
import { versionRow } from './cluster.ts';
import type { Call, Routes } from './route.ts';
import type { World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

function listNodes({ world, may, endpoint }: Call): Row[] {
  return viewOf(world.nodes, endpoint).nodes.map((node) => {
    const online = seenOnline(node, world.clock.nowMs());
    const { name, fingerprint } = node;
    const bare = {
      id: `node/${name}`,
      node: name,
      type: 'node',
      level: '',
      status: online ? 'online' : 'offline',
      ssl_fingerprint: fingerprint,
    };
    if (!may(`/nodes/${name}`, 'Sys.Audit')) return bare;
    const figures = nodeFigures(world, name);
    if (online) return { ...bare, ...figures };
    const { maxcpu, maxmem, maxdisk } = figures as Record<string, unknown>;
    return maxcpu === undefined ? bare : { ...bare, maxcpu, maxmem, maxdisk };
  });
}

function needNode({ world, node }: Call): WorldNode {
  const found = world.nodes.get(node);
  if (found === undefined) throw refusal(`no node ${node}`);
  return found;
}

function nodeStatus(call: Call): Row {
  const { world } = call;
  const node = needNode(call);
  const { cpus, memoryBytes, diskBytes, usage } = node;
  const memoryFree = memoryBytes - usage.memoryBytes;
  return {
    pveversion: `pve-manager/${world.version}/${String(versionRow(world)['repoid'])}`,
    kversion: 'Linux 6.8.12-1-pve #1 SMP PREEMPT_DYNAMIC',
    'current-kernel': {
      sysname: 'Linux',
      release: '6.8.12-1-pve',
      version: '#1 SMP PREEMPT_DYNAMIC',
      machine: 'x86_64',
    },
    'boot-info': { mode: 'legacy-bios' },
    uptime: Math.floor((world.clock.nowMs() - node.bootedAtMs) / 1000),
    loadavg: ['0.20', '0.18', '0.17'],
    cpu: usage.cpu,
    wait: 0,
    idle: 0,
    cpuinfo: {
      cpus,
      cores: cpus,
      sockets: 1,
      mhz: '2596.100',
      model: 'AMD EPYC',
      hvm: '',
      user_hz: 100,
      flags: 'fpu vme de pse tsc msr pae',
      ...(world.major >= 9 ? { vendor: 'AuthenticAMD', family: '26' } : {}),
    },
    memory: {
      total: memoryBytes,
      used: usage.memoryBytes,
      free: memoryFree,
      ...(world.major >= 9 ? { available: memoryFree } : {}),
    },
    swap: { total: 0, used: 0, free: 0 },
    ksm: { shared: 0 },
    rootfs: {
      total: diskBytes,
      used: usage.diskBytes,
      free: diskBytes - usage.diskBytes,
      avail: diskBytes - usage.diskBytes,
    },
  };
}

function interfaces(call: Call): Map<string, Row> {
  const node = needNode(call);
  const shared = { active: 1, families: ['inet'], method6: 'manual' };
  const all = new Map<string, Row>();
  for (const [index, bridge] of node.bridges.entries()) {
    all.set(bridge, {
      ...shared,
      ...(index === 0 ? addressOf(node) : { method: 'manual', bridge_ports: '' }),
      type: 'bridge',
      autostart: 1,
      priority: 4 + index,
      bridge_fd: '0',
      bridge_stp: 'off',
    });
  }
  all.set('eth0', { ...shared, type: 'eth', method: 'manual', priority: 3 });
  return all;
}

const addressOf = ({ ip }: WorldNode): Row => ({
  method: 'static',
  address: ip,
  cidr: `${ip}/24`,
  netmask: '24',
  gateway: ip.replace(/\d+$/, '1'),
  bridge_ports: 'eth0',
});

function listNetwork(call: Call): Row[] {
  const { type } = call.parameters;
  const rows = [...interfaces(call)].map(([iface, row]): Row => ({ ...row, iface }));
  const wanted = type === 'any_bridge' || type === 'any_local_bridge' ? 'bridge' : type;
  return rows
    .filter((row) => wanted === undefined || row['type'] === wanted)
    .filter(({ type: kind, iface }) => kind !== 'bridge' || isBridgeShown(call, String(iface)));
}

/** To whom may look at it, or use it. */
const isBridgeShown = ({ may }: Call, bridge: string): boolean =>
  ['SDN.Audit', 'SDN.Use'].some((privilege) => may(`/sdn/zones/localnetwork/${bridge}`, privilege));

function oneInterface(call: Call): Row {
  const { iface = '' } = call.parameters;
  const found = interfaces(call).get(iface);
  if (found === undefined) throw refusal(`interface '${iface}' does not exist`);
  return found;
}

const hourOf = (world: World): number[] => {
  const last = Math.floor(world.now() / 60) * 60;
  return Array.from({ length: 70 }, (_, index) => last - (69 - index) * 60);
};

const pressures = ['cpusome', 'iofull', 'iosome', 'memoryfull', 'memorysome'].map((kind) => [
  `pressure${kind}`,
  0,
]);
const sinceNine = (memavailable: number): Row => ({
  memavailable,
  arcsize: 0,
  ...Object.fromEntries(pressures),
});

function nodeGraph(call: Call): Row[] {
  const { world } = call;
  const { cpus, memoryBytes, diskBytes, usage, bootedAtMs } = needNode(call);
  return hourOf(world).map((time) =>
    time * 1000 < bootedAtMs
      ? { time }
      : {
          time,
          cpu: usage.cpu,
          maxcpu: cpus,
          memused: usage.memoryBytes,
          memtotal: memoryBytes,
          rootused: usage.diskBytes,
          roottotal: diskBytes,
          swapused: 0,
          swaptotal: 0,
          netin: 0,
          netout: 0,
          iowait: 0,
          loadavg: 0.2,
          ...(world.major >= 9 ? sinceNine(memoryBytes - usage.memoryBytes) : {}),
        },
  );
}

const index = (major: number): Row[] => {
  const all = `aplinfo apt capabilities ceph certificates config disks dns firewall hardware hosts journal lxc migrateall \
netstat network qemu query-url-metadata replication report rrd rrddata scan services spiceshell startall status stopall \
storage subscription suspendall syslog tasks termproxy time version vncshell vzdump wakeonlan sdn`;
  const more = major >= 9 ? ['query-oci-repo-tags'] : [];
  return [...all.split(' '), ...more].sort().map((name) => ({ name }));
};

export const nodeRoutes: Routes = {
  'GET /nodes': listNodes,
  'GET /nodes/{node}': ({ world }) => index(world.major),
  'GET /nodes/{node}/status': nodeStatus,
  'GET /nodes/{node}/version': ({ world }) => versionRow(world),
  'GET /nodes/{node}/time': ({ world }) => ({
    time: world.now(),
    localtime: world.now(),
    timezone: world.major >= 9 ? 'UTC' : 'Etc/UTC',
  }),
  'GET /nodes/{node}/dns': () => ({}),
  'GET /nodes/{node}/rrddata': nodeGraph,
  'GET /nodes/{node}/network': listNetwork,
  'GET /nodes/{node}/network/{iface}': oneInterface,
};
