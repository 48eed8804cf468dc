/** The server for tests itself: what HTTP, logins and faults do, beyond what the recordings show. */
import { describe, expect, it } from 'vitest';
import { startProxmoxServer } from './proxmox-server.ts';
import type { ProxmoxServer } from './proxmox-server.ts';
import { sendRaw } from './proxmox/raw-request.ts';
import type { RawAnswer, RawRequest } from './proxmox/raw-request.ts';

type Ask = Partial<RawRequest> & { readonly node?: string };

const ask = (server: ProxmoxServer, method: string, path: string, more: Ask = {}): Promise<RawAnswer> =>
  sendRaw({
    address: server.endpoints.get(more.node ?? 'pve1') ?? '',
    authorityPem: server.authorityPem,
    method,
    path: `/api2/json${path}`,
    ...more,
    headers: { authorization: `PVEAPIToken=${server.tokenId}=${server.secret}`, ...more.headers },
  });

describe('the Proxmox server for tests', () => {
  it('answers each node under its own certificate of one authority', async () => {
    await using server = await startProxmoxServer();
    const answers = await Promise.all(
      ['pve1', 'pve2', 'pve3'].map((node) => ask(server, 'GET', '/version', { node })),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(server.fingerprints().values()).size).toBe(3);
    expect([...server.fingerprints().values()][0]).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  });
});
