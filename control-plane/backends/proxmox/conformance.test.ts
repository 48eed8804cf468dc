import { backendConformance } from '../../../test/conformance/backend.ts';
import { placeFile } from '../../../test/fakes/proxmox/storage-paths.ts';
import { openProxmoxWorld, storedTemplate } from '../../../test/proxmox-world.ts';
import type { InstanceSpec } from '#shared/model.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import type { GuestKind } from './guests/guest-kind.ts';
import { lxcKind } from './guests/lxc.ts';
import { qemuKind } from './guests/qemu.ts';

const specs: readonly { readonly kind: GuestKind; readonly spec: Partial<InstanceSpec> }[] = [
  { kind: lxcKind, spec: { image: storedTemplate, command: [], rootPool: 'btr' } },
  {
    kind: qemuKind,
    spec: {
      image: 'proxmox:local:import/noble.qcow2',
      command: [],
      rootPool: 'local',
      vm: { ...plainVmOptions, serial: true },
    },
  },
];

for (const version of ['8.4.21', '9.2.11'] as const) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  for (const { kind, spec } of specs) {
    backendConformance(`${kind.runtime} on ${version}`, async () => {
      const world = await openProxmoxWorld({ version, unwatched: true });
      const { server } = world;
      const names = [...server.world.nodes.keys()];
      const disk = { content: 'import', name: 'noble.qcow2', sizeBytes: 2 * 1024 ** 3 };
      for (const name of names) placeFile(server.world, name, 'local', disk);
      return {
        backend: world.backend,
        node: world.node('pve1'),
        capabilities: new Set(kind.capabilities({ major, minor })),
        spec: { runtime: kind.runtime, ...spec },
        cut: async () => {
          for (const name of names) await server.faults.killNode(name);
        },
        restore: async () => {
          for (const name of names) await server.faults.reviveNode(name);
        },
        [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
      };
    });
  }
}
