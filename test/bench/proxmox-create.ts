/**
 * Containers of a Proxmox cluster, made and started: through a whole control plane by one `apply --wait`, and
 * by a bare loop of undici with the same calls and the same parallelism. The cluster is the server for tests,
 * in a process of its own, with the durations that real clusters had.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Agent, request } from 'undici';
import { type Fleet, startFleet } from '../../scripts/fleet.ts';
import { recordedTemplate } from '../fakes/proxmox/standard-storages.ts';
import { type Figure, median } from './parts/figure.ts';
import { openProcess } from './parts/instance-child.ts';
import type { ServerAccess } from './parts/proxmox-server.ts';

const count = 50;
const rounds = 3;
/** As the backend does: so many are made or started at once on one node, and made on one shared storage. */
const most = { perNode: 4, perStorage: 8 };
const nodes = ['pve1', 'pve2', 'pve3'];
const template = `shared:vztmpl/${recordedTemplate}`;
const pollMs = 100;

type Server = ReturnType<typeof openProcess<ServerAccess>>;

async function startServer(): Promise<{ server: Server; access: ServerAccess }> {
  const server = openProcess<ServerAccess>('./proxmox-server.ts', '3 0');
  return { server, access: await server.ask({ ask: 'access' }) };
}

type Slots = <T>(act: () => Promise<T>) => Promise<T>;

function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (act) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await act();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}

async function bare(access: ServerAccess): Promise<number> {
  const agent = new Agent({
    connect: { ca: access.authorityPem, checkServerIdentity: () => undefined },
    connections: 16,
    maxRequestsPerClient: 90,
  });
  const headers = { authorization: `PVEAPIToken=${access.tokenId}=${access.secret}` };
  async function call(
    method: 'GET' | 'POST',
    where: string,
    form?: Record<string, string>,
  ): Promise<unknown> {
    const url = `https://${access.endpoints[0]}/api2/json${where}`;
    const body = form === undefined ? null : new URLSearchParams(form).toString();
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await request(url, { method, headers: { ...headers, ...type }, body, dispatcher: agent });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${method} ${where}: ${answer.statusCode} ${text}`);
    return (JSON.parse(text) as { data: unknown }).data;
  }
  async function task(node: string, upid: unknown): Promise<void> {
    for (;;) {
      const where = `/nodes/${node}/tasks/${encodeURIComponent(String(upid))}/status`;
      const { status, exitstatus } = (await call('GET', where)) as { status: string; exitstatus?: string };
      if (status === 'stopped' && exitstatus !== 'OK') throw new Error(exitstatus);
      if (status === 'stopped') return;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }
  const onNode = new Map(nodes.map((node) => [node, createSlots(most.perNode)]));
  const onStorage = createSlots(most.perStorage);
  async function life(node: string, vmid: number): Promise<void> {
    const slot = onNode.get(node) ?? createSlots(most.perNode);
    const form = { vmid: String(vmid), ostemplate: template, hostname: `ct${vmid}`, memory: '64' };
    const disk = { rootfs: 'shared:1', unprivileged: '1', swap: '0', tags: 'bare', description: 'bare' };
    const create = async () => task(node, await call('POST', `/nodes/${node}/lxc`, { ...form, ...disk }));
    await slot(() => onStorage(create));
    await slot(async () => task(node, await call('POST', `/nodes/${node}/lxc/${vmid}/status/start`, {})));
  }
  const beganMs = performance.now();
  const places = Array.from({ length: count }, (_, place) => place);
  await Promise.all(places.map((place) => life(nodes[place % nodes.length] ?? '', 100 + place)));
  const tookMs = performance.now() - beganMs;
  await agent.close();
  return tookMs;
}

const spec = JSON.stringify({
  kind: 'Workload',
  name: 'many',
  image: `proxmox:${template}`,
  runtime: 'proxmox-lxc',
  replicas: count,
  resources: { memory: '64MiB', disk: '1GiB' },
  root: { pool: 'shared' },
  network: 'none',
  update: { readyAfter: '0s' },
});

async function succeed(fleet: Fleet, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await fleet.drover(args, input === undefined ? {} : { input });
  if (code !== 0) throw new Error(`drover ${args.join(' ')}: ${stderr}`);
  return stdout;
}

async function throughDrover(fleet: Fleet, access: ServerAccess): Promise<number> {
  const [token, authority] = ['token', 'authority.pem'].map((name) => path.join(fleet.folder, name)) as [
    string,
    string,
  ];
  writeFileSync(token, access.secret, { mode: 0o600 });
  writeFileSync(authority, access.authorityPem);
  const where = ['--endpoint', access.endpoints[0] ?? '', '--ca', authority];
  await succeed(fleet, [
    'cluster',
    'add',
    'lab',
    ...where,
    '--token-id',
    access.tokenId,
    '--token-file',
    token,
  ]);
  for (;;) {
    const listed = JSON.parse(await succeed(fleet, ['get', 'nodes', '-o', 'json'])) as { ready?: boolean }[];
    if (listed.length === nodes.length && listed.every(({ ready }) => ready === true)) break;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  const beganMs = performance.now();
  await succeed(fleet, ['apply', '-f', '-', '--wait', '--timeout', '180s'], spec);
  return performance.now() - beganMs;
}

/** A cluster and a control plane of its own each time: nothing is left over from before. */
async function measure(round: (access: ServerAccess) => Promise<number>): Promise<number> {
  const { server, access } = await startServer();
  try {
    return await round(access);
  } finally {
    await server.end();
  }
}

async function measureDrover(access: ServerAccess): Promise<number> {
  const fleet = await startFleet({ hosts: 0, say: () => {} });
  try {
    return await throughDrover(fleet, access);
  } finally {
    await fleet.tearDown();
  }
}

export async function run(): Promise<readonly Figure[]> {
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    theirs.push(await measure(bare));
    ours.push(await measure(measureDrover));
  }
  const ratio = Math.round((median(ours) / median(theirs)) * 100) / 100;
  return [
    { name: 'ratio', value: ratio, unit: 'drover/bare', goal: { atMost: 1.2 } },
    { name: 'drover-ms', value: Math.round(median(ours)), unit: 'ms' },
    { name: 'bare-ms', value: Math.round(median(theirs)), unit: 'ms' },
  ];
}
