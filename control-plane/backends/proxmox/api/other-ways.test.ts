/** Clusters that are reached by IPv6, or through somebody's port. */
import { createServer, connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { container, openQuickWorld, phaseOf, runGuest } from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();

/** Passes on what it gets to where it is told to: the port of a router. */
async function openRouter() {
  const sockets = new Set<Socket>();
  let target = { host: '', port: 0 };
  const keep = (socket: Socket): Socket => {
    sockets.add(socket.on('error', () => socket.destroy()));
    return socket;
  };
  const server = createServer((socket) => {
    const there = keep(connect(target));
    keep(socket).pipe(there).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    address: `127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`,
    leadTo(endpoint = '') {
      const [host = '', port = ''] = endpoint.split(':');
      target = { host, port: Number(port) };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe.each(['8.4.21', '9.2.11'] as const)('a node with an IPv6 address, on %s', (version) => {
  it.each([
    { trust: 'its authority', by: 'authority' },
    { trust: 'its fingerprint', by: 'fingerprints' },
  ] as const)('is reached under it, by $trust', async ({ by }) => {
    await using world = await openQuickWorld({
      version,
      nodes: ['pve1'],
      address: '::1',
      reachedBy: (server) => ({
        // As a person may write it.
        endpoints: [(server.endpoints.get('pve1') ?? '').replace('[::1]', '[0:0:0:0:0:0:0:1]')],
        trust:
          by === 'authority'
            ? { kind: by, pem: server.authorityPem }
            : { kind: by, sha256: [...server.fingerprints().values()] },
      }),
    });
    const order = await runGuest(world, container);
    const status = world.backend.status('lab');
    expect(status?.endpoints).toEqual([{ address: world.server.endpoints.get('pve1'), problem: '' }]);
    const ticket = await world.backend.consoleTicket(order, signal);
    expect(ticket.url).toMatch(/^https:\/\/\[::1\]:\d+\/\?/);
    expect(phaseOf(world, order.instanceId)).toBe('running 1');
  });
});

describe('a cluster behind the port of a router', () => {
  it('has its members learned under the port that they listen on, and is reached as before', async () => {
    await using router = await openRouter();
    await using world = await openQuickWorld({
      nodes: ['pve1', 'pve2'],
      reachedBy({ endpoints }) {
        router.leadTo(endpoints.get('pve1'));
        return { endpoints: [router.address] };
      },
    });
    const ips = [...world.server.world.nodes.values()].map(({ ip }) => `${ip}:8006`);
    await until(() => (world.backend.status('lab')?.endpoints.length ?? 0) > 1, {
      what: 'members are learned',
    });
    const addresses = () => world.backend.status('lab')?.endpoints.map(({ address }) => address) ?? [];
    expect(addresses().toSorted()).toEqual([router.address, ...ips].toSorted());
    const order = await runGuest(world, container, 'pve2');
    expect(phaseOf(world, order.instanceId)).toBe('running 1');
    expect(world.backend.status('lab')).toMatchObject({ connected: true });
  });
});
