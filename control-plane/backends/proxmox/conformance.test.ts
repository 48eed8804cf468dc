import { backendConformance } from '../../../test/conformance/backend.ts';
import { openProxmoxWorld, storedTemplate } from '../../../test/proxmox-world.ts';
import { lxcKind } from './guests/lxc.ts';

for (const version of ['8.4.21', '9.2.11'] as const) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  backendConformance(`proxmox-lxc on ${version}`, async () => {
    const world = await openProxmoxWorld({ version, unwatched: true });
    const { server } = world;
    return {
      backend: world.backend,
      node: world.node('pve1'),
      capabilities: new Set(lxcKind.capabilities({ major, minor })),
      spec: {
        runtime: 'proxmox-lxc',
        image: storedTemplate,
        command: [],
        rootPool: 'btr',
      },
      cut: async () => {
        for (const name of server.world.nodes.keys()) await server.faults.killNode(name);
      },
      restore: async () => {
        for (const name of server.world.nodes.keys()) await server.faults.reviveNode(name);
      },
      [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
    };
  });
}
