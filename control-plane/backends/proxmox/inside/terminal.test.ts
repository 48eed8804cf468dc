/** Terminals of guests: through us, and for programs that have the URL. */
import { request } from 'node:https';
import { describe, expect, it } from 'vitest';
import type { InstanceSpec } from '#shared/model.ts';
import type { ExecOutput } from '#shared/streams.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { documentedToken } from '../../../../test/documented-token.ts';
import { halt } from '../../../../test/fakes/proxmox/guest-life.ts';
import type { ProxmoxServer } from '../../../../test/fakes/proxmox-server.ts';
import { terminalsOf } from '../../../../test/fakes/proxmox/terminals.ts';
import {
  container,
  guestOf,
  machine,
  openQuickWorld,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import type { ExecChannel, OrderHead } from '../../backend.ts';

const { signal } = new AbortController();
const admin = { role: 'admin', name: 'root' } as const;
const serial: InstanceSpec = { ...machine, vm: { ...plainVmOptions, serial: true } };
const kinds = [
  { kind: 'lxc', spec: container },
  { kind: 'qemu', spec: serial },
] as const;
const openIt = (world: ProxmoxWorld, order: OrderHead, own = signal): Promise<ExecChannel> =>
  world.backend.console(
    order.node,
    {
      instance: order.instanceId,
      command: [],
      stdin: true,
      tty: true,
      size: { columns: 132, rows: 43 },
      env: {},
      user: '',
      workingDir: '',
      project: 'default',
    },
    admin,
    own,
  );

/** Reads along; `text` is what stands there. */
function reader({ output }: ExecChannel) {
  const seen: ExecOutput[] = [];
  const end = (async () => {
    for await (const each of output) seen.push(each);
  })();
  end.catch(() => undefined);
  const text = (): string =>
    seen.map((each) => (each.kind === 'stdout' ? Buffer.from(each.data).toString() : '')).join('');
  const shows = (what: string) => until(() => text().includes(what), { what: `"${what}"` });
  return { seen, end, text, shows };
}
const type = (channel: ExecChannel, text: string) => channel.send({ kind: 'stdin', data: Buffer.from(text) });

describe.each(kinds)('a terminal, $kind', ({ spec }) => {
  it('shows what stands there, takes keys and sizes, and is left without an end of its guest', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec, 'pve2');
    const channel = await openIt(world, order);
    const { shows, seen, end } = reader(channel);
    await shows('login: ');
    expect(seen[0]).toMatchObject({ kind: 'started' });
    await type(channel, 'size\r');
    await shows('132x43');
    await channel.send({ kind: 'resize', size: { columns: 90, rows: 30 } });
    await type(channel, 'size\r');
    await shows('90x30');
    const long = 'ä'.repeat(30_000);
    const { log } = terminalsOf(world.server.world);
    const before = log.inputs;
    await type(channel, `${long}\r`);
    await shows(`typed ${long}`);
    expect(log.inputs - before).toBe(1);
    await expect(channel.send({ kind: 'signal', signal: 2 })).rejects.toMatchObject({
      kind: 'unimplemented',
    });
    channel.close();
    await end;
    expect(guestOf(world, order.instanceId).status).toBe('running');
    await until(() => terminalsOf(world.server.world).ports.size === 0, { what: 'no port open' });
  });

  it('stays open while nothing is typed, for it says so every half minute', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const channel = await openIt(world, order);
    const { shows } = reader(channel);
    await shows('login: ');
    const { log } = terminalsOf(world.server.world);
    await until(() => log.pings >= 2, { what: 'two pings' });
    channel.close();
  });

  it('ends with its guest', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const channel = await openIt(world, order);
    const { shows, seen, end } = reader(channel);
    await shows('login: ');
    halt(guestOf(world, order.instanceId));
    await end;
    expect(seen.at(-1)).toMatchObject({ kind: 'exit', exit: { code: 0 } });
    await expect(type(channel, 'x')).rejects.toMatchObject({ kind: 'failed-precondition' });
  });

  it('that its cluster closes says that what runs there goes on', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const channel = await openIt(world, order);
    const { shows, end } = reader(channel);
    await shows('login: ');
    await type(channel, 'exit\r');
    await expect(end).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'the cluster closed the terminal; what runs there goes on',
    });
  });

  it('ends when whoever looks gives up', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const leaving = new AbortController();
    const channel = await openIt(world, order, leaving.signal);
    const { shows, end } = reader(channel);
    await shows('login: ');
    leaving.abort(new Error('enough'));
    await end;
    await until(() => terminalsOf(world.server.world).ports.size === 0, { what: 'no port open' });
  });

  it('is opened where the port is, also when another node than its own answers', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec, 'pve2');
    // Its own API takes no connection; the node does its work.
    await world.server.faults.rotateCertificate('pve2', 'new');
    const channel = await openIt(world, order);
    const { shows } = reader(channel);
    await shows('login: ');
    const [key] = terminalsOf(world.server.world).ports.keys();
    expect(key).toMatch(/^pve[13] 59/);
    channel.close();
  });

  it('of a guest that does not run is refused', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    await expect(openIt(world, order)).rejects.toMatchObject({ kind: 'failed-precondition' });
    expect(terminalsOf(world.server.world).ports.size).toBe(0);
  });

  it('that its cluster does not open is refused, and can be opened again', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const method = `GET /nodes/{node}/${spec === container ? 'lxc' : 'qemu'}/{vmid}/vncwebsocket`;
    // Once more is asked by the library on its own.
    world.server.faults.failNext(method, { status: 401, message: 'permission denied' }, 2);
    await expect(openIt(world, order)).rejects.toMatchObject({ kind: 'unavailable', reason: 'connection' });
    const channel = await openIt(world, order);
    await reader(channel).shows('login: ');
    channel.close();
  });

  it('is one of a few at one time', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const all: ExecChannel[] = [];
    while (all.length < 32) all.push(await openIt(world, order));
    await expect(openIt(world, order)).rejects.toMatchObject({ kind: 'resource-exhausted' });
    for (const channel of all) channel.close();
    const channel = await openIt(world, order);
    await reader(channel).shows('login: ');
    channel.close();
  });
});

describe.each(['8.4.21', '9.2.11'] as const)('a terminal on %s', (version) => {
  it.each([
    { by: 'the documented token', reachedBy: ({ world }: ProxmoxServer) => documentedToken(world) },
    {
      by: 'a password',
      reachedBy: ({ user, password }: ProxmoxServer) =>
        ({ credential: { kind: 'password', user, password } }) as const,
    },
  ])('is opened with $by', async ({ reachedBy }) => {
    await using world = await openQuickWorld({ version, reachedBy });
    for (const spec of [{ ...container, rootPool: 'btr' }, serial]) {
      const order = await runGuest(world, spec);
      const channel = await openIt(world, order);
      const { shows } = reader(channel);
      await shows('login: ');
      channel.close();
    }
  });
});

describe('a machine without a serial port', () => {
  it('has no terminal, and it is told what to do', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, machine);
    await expect(openIt(world, order)).rejects.toMatchObject({
      kind: 'unimplemented',
      nextStep: expect.stringMatching(/serial: true.*console --url/) as string,
    });
  });
});

/** What a program gets that opens the websocket: its status, and the first bytes where it was let in. */
const openWebsocket = (world: ProxmoxWorld, url: string, headers: Readonly<Record<string, string>>) =>
  new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const asked = request(url.replace(/^wss:/, 'https:'), {
      ca: world.server.authorityPem,
      servername: '',
      agent: false,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': Buffer.alloc(16, 1).toString('base64'),
        ...headers,
      },
    });
    asked.on('upgrade', (answer, socket, head) => {
      socket.on('error', reject);
      const take = (bytes: Buffer): void => {
        resolve({ status: answer.statusCode ?? 0, text: bytes.subarray(2).toString() });
        socket.destroy();
      };
      if (head.length > 0) take(head);
      else socket.once('data', take);
    });
    asked.on('response', (answer) => resolve({ status: answer.statusCode ?? 0, text: '' }));
    asked.on('error', reject);
    asked.end();
  });

describe('the websocket of a screen', () => {
  const withToken = ({ server }: ProxmoxWorld) => ({
    authorization: `PVEAPIToken=${server.tokenId}=${server.secret}`,
  });

  it('is opened with the URL and our own credential, once, and not without it', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, machine, 'pve2');
    const { websocketUrl } = await world.backend.consoleTicket(order, signal);
    expect(await openWebsocket(world, websocketUrl, {})).toEqual({ status: 401, text: '' });
    const opened = await openWebsocket(world, websocketUrl, withToken(world));
    expect(opened).toEqual({ status: 101, text: 'RFB 003.008\n' });
    await until(() => terminalsOf(world.server.world).ports.size === 0, { what: 'its port is closed' });
    expect(await openWebsocket(world, websocketUrl, withToken(world))).toMatchObject({ status: 401 });
  });

  it('of another ticket, port or node is not', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, machine, 'pve2');
    const { websocketUrl } = await world.backend.consoleTicket(order, signal);
    const [, other = ''] = [...world.server.endpoints.values()];
    const wrong = [
      websocketUrl.replace(/vncticket=.*/, 'vncticket=PVEVNC%3A0'),
      websocketUrl.replace(/port=\d+/, 'port=5999'),
      websocketUrl.replace(other, world.server.endpoints.get('pve1') ?? ''),
    ];
    for (const url of wrong)
      expect(await openWebsocket(world, url, withToken(world))).toMatchObject({ status: 401 });
    expect(await openWebsocket(world, websocketUrl, withToken(world))).toMatchObject({ status: 101 });
  });

  it('names the node that opened the port, where its own does not answer', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, machine, 'pve2');
    await world.server.faults.rotateCertificate('pve2', 'new');
    const { websocketUrl, url } = await world.backend.consoleTicket(order, signal);
    expect(new URL(websocketUrl).host).not.toBe(world.server.endpoints.get('pve2'));
    expect(new URL(url).host).toBe(new URL(websocketUrl).host);
    expect(await openWebsocket(world, websocketUrl, withToken(world))).toMatchObject({ status: 101 });
  });
});
