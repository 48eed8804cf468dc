import { describe, expect, it } from 'vitest';
import { documentedToken } from '../../../test/documented-token.ts';
import { openProxmoxWorld, specOf } from '../../../test/proxmox-world.ts';

const never = new AbortController().signal;

describe('what is tried before a cluster is added', () => {
  it.each([['8.4.21'], ['9.2.11']] as const)('tells what a token has and lacks on %s', async (version) => {
    await using world = await openProxmoxWorld({ version, nodes: ['pve1'] });
    const { server, backend } = world;
    const asked = () => backend.test('second', specOf(server), never);
    expect((await asked()).rights.filter(({ granted }) => !granted)).toEqual([]);

    // A separated token without a rule of its own: it is let in, and may do nothing.
    const user = server.world.access.users.get('root@pam');
    const token = user?.tokens.get('rig');
    if (token !== undefined) user?.tokens.set('rig', { ...token, privilegeSeparation: true });
    const status = await asked();
    expect(status).toMatchObject({ connected: true, version, nodes: [], guests: 0 });
    expect(status.rights.filter(({ granted }) => granted)).toEqual([]);
    expect(status.message).toMatch(/cannot work without Sys\.Audit on \//);
  });

  it('tells beforehand where the tags that guests are known by may not be set', async () => {
    await using world = await openProxmoxWorld({ nodes: ['pve1'] });
    const { server, backend } = world;
    const spec = { ...specOf(server), ...documentedToken(server.world) };
    const asked = () => backend.test('second', spec, never);
    expect((await asked()).message).toBe('');
    server.world.options['user-tag-access'] = 'user-allow=list,user-allow-list=web;db';
    expect((await asked()).message).toMatch(/cannot work without Sys\.Modify on \/ .*user-tag-access/);
  });
});
