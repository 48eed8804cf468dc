/** The last border: whatever words come past the first one, a cluster takes them for what they are, or not at all. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { isKind } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { createQuickClock } from '../../../../test/fakes/quick-clock.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import { startProxmoxServer } from '../../../../test/fakes/proxmox-server.ts';
import { recordedTemplate } from '../../../../test/fakes/proxmox/standard-storages.ts';
import { placeFile } from '../../../../test/fakes/proxmox/storage-paths.ts';
import { container, machine, specOf } from '../../../../test/proxmox-world.ts';
import { openClusterApi } from '../api/api.ts';
import { markOf } from '../identity/marks.ts';
import { createTasks } from '../tasks/tasks.ts';
import type { GuestKind, MakeContext } from './guest-kind.ts';
import { lxcKind } from './lxc.ts';
import { qemuKind } from './qemu.ts';

const { signal } = new AbortController();
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

const corpus =
  '-x|--help|..|../x|a/b| |a b|a\nb|a\r|\0|a\0b|%n|@x|a@b|a:b|a;b|$(id)|`id`|é|e\u0301|\u202e|__proto__|\x1b[2J|a=b|=b|a,b'.split(
    '|',
  );
/** What would become another setting, were it put together carelessly. */
const attempts = [
  'a,lock=backup',
  'a\nlock: backup',
  'a&lock=backup',
  'a,mp0=/etc,mp=/x',
  'x,ip=10.0.0.1/8,gw=10.0.0.2',
  'a;drover-000000000000',
  'ssh-ed25519 AAAA a@b\nssh-ed25519 BBBB c@d',
  'x'.repeat(300),
  'local:0,import-from=/etc/shadow',
];
const word = fc.oneof(
  fc.constantFrom(...corpus, ...attempts),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.string({
    unit: fc.constantFrom(',', '=', '&', '%', '\n', '\0', ';', ' ', 'a', '/', ':', '"', "'", '\\'),
  }),
);
const fields = ['displayName', 'workload', 'project', 'tag', 'search', 'user', 'sshKey', 'variable'] as const;
type Words = Readonly<Partial<Record<(typeof fields)[number], string>>>;
/** One or two at a time: more are nearly always refused. */
const words: fc.Arbitrary<Words> = fc
  .array(fc.tuple(fc.constantFrom(...fields), word), { minLength: 1, maxLength: 2 })
  .map((entries) => Object.fromEntries(entries));

function specWith(basis: InstanceSpec, given: Words): InstanceSpec {
  const { displayName, tag, search, user, sshKey, variable } = given;
  const cloudInit = { user: user ?? 'admin', sshKeys: [sshKey ?? 'ssh-ed25519 AAAA a@b'] };
  return {
    ...basis,
    displayName: displayName ?? 'web-x7k2p',
    dns: { servers: [], search: [search ?? 'example.test'], options: [] },
    cluster: { ...plainClusterOptions, tags: [tag ?? 'blue'] },
    env: basis.runtime === 'proxmox-lxc' && variable !== undefined ? { GREETING: variable } : {},
    ...(basis.runtime === 'proxmox-vm' && { vm: { ...plainVmOptions, cloudInit } }),
  };
}

/** Disks and hardware addresses are another guest's each time. */
const steady = (config: Readonly<Record<string, string | undefined>>) => ({
  memory: config['memory'],
  cores: config['cores'],
  unprivileged: config['unprivileged'],
  features: config['features'],
  onboot: config['onboot'],
  size: /size=\w+/.exec(config['rootfs'] ?? config['scsi0'] ?? '')?.[0],
});

const kinds: readonly { readonly kind: GuestKind; readonly basis: InstanceSpec }[] = [
  { kind: lxcKind, basis: container },
  { kind: qemuKind, basis: machine },
];

for (const version of ['8.4.21', '9.2.11'] as const) {
  describe.each(kinds)(`hostile words on ${version}, $kind.runtime`, ({ kind, basis }) => {
    it('are a value or a refusal, and no other setting', { timeout: 60_000 }, async () => {
      const server = await startProxmoxServer({ version, pace: 0.001, nodes: ['pve1'] });
      cleanUp.push(() => server.close());
      const file = { content: 'import', name: 'noble.qcow2', sizeBytes: 2 * 1024 ** 3 };
      placeFile(server.world, 'pve1', 'local', file);
      const random = createSeededRandom(1);
      const api = openClusterApi('rig', specOf(server), { clock: systemClock, random });
      cleanUp.push(() => api.close());
      const tasks = createTasks({ cluster: 'rig', api, clock: createQuickClock(20) });
      const [major = 0, minor = 0] = version.split('.').map(Number);
      const place = { node: 'pve1', vmid: 100 };

      async function make(given: Words) {
        const mark = markOf({
          instanceId: '0197c0de-0000-7000-8000-00000000abcd' as InstanceId,
          fleetId: 'f',
          epoch: 1,
          project: given.project ?? 'default',
          workload: given.workload ?? 'web',
          vmid: 100,
          generation: 1,
        });
        const context: MakeContext = {
          ...place,
          version: { major, minor },
          storageOf: () => 'local',
          diskFormat: () => 'qcow2',
          mark,
          image:
            kind === lxcKind
              ? { kind: 'template', volid: `local:vztmpl/${recordedTemplate}` }
              : { kind: 'import', volid: 'local:import/noble.qcow2' },
        };
        const spec = specWith(basis, given);
        if (kind.cannot(spec, { major, minor }).length > 0) return undefined;
        const call = kind.create(spec, context);
        expect(Object.keys(call.parameters)).not.toContain('lock');
        try {
          const upid = await call.send(api, { signal });
          await tasks.wait(String(upid), { signal });
        } catch (error) {
          expect(isKind(error, 'invalid-argument', 'failed-precondition', 'internal')).toBe(true);
          // Nothing is left of what was refused.
          expect([...server.world.guests.keys()]).toEqual([]);
          return undefined;
        }
        const made = server.world.guests.get(100)?.config;
        expect([...server.world.guests.keys()]).toEqual([100]);
        server.world.guests.clear();
        for (const [volid, { vmid }] of server.world.storages.volumes('local', 'pve1'))
          if (vmid === 100) server.world.storages.volumes('local', 'pve1').delete(volid);
        return made;
      }

      const usual = await make({});
      if (usual === undefined) throw new Error('what is harmless was refused');
      const keys = new Set([...Object.keys(usual), 'env', 'entrypoint']);
      let taken = 0;
      await fc.assert(
        fc.asyncProperty(words, async (given) => {
          const made = await make(given);
          if (made === undefined) return;
          taken += 1;
          expect(Object.keys(made).filter((key) => !keys.has(key))).toEqual([]);
          expect(steady(made)).toEqual(steady(usual));
          const ours = made['tags']?.split(';').filter((tag) => tag.startsWith('drover-')) ?? [];
          expect(ours).toContain('drover-00000000abcd');
          const lines = made['description']
            ?.split('\n')
            .filter((line) => line.startsWith('drover:instance='));
          expect(lines).toHaveLength(1);
        }),
        { numRuns: 100, seed: 7 },
      );
      // It is no test of refusals alone.
      expect(taken).toBeGreaterThan(10);
    });
  });
}
