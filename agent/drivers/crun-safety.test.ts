import { readFileSync, statSync } from 'node:fs';
import { chown, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { setUpCrun, type CrunWorld } from '../../test/crun-host.ts';
import { testRange } from '../../test/guest-specs.ts';
import { until } from '../../test/until.ts';
import { resolveUser } from './guest-user.ts';

const anySignal = new AbortController().signal;
const forEver = ['/bin/sleep', '100000'];
const golden = path.join(import.meta.dirname, '../../test/golden/oci-runtime-1.3');

/** The schema is draft 4; of what it uses only `id` differs from what the checker speaks. */
function ociValidator() {
  const ajv = new Ajv({ strict: false, logger: false, validateFormats: false });
  const load = (name: string): object => {
    const {
      $schema: _,
      id: __,
      ...schema
    } = JSON.parse(readFileSync(path.join(golden, name), 'utf8')) as {
      $schema?: string;
      id?: string;
    };
    return { ...schema, $id: name };
  };
  // The schema names other systems, of which we write nothing.
  for (const system of ['solaris', 'windows', 'vm', 'zos', 'freebsd']) {
    ajv.addSchema({ $id: `config-${system}.json`, [system]: {} });
  }
  for (const name of ['defs.json', 'defs-linux.json', 'config-linux.json']) ajv.addSchema(load(name));
  return ajv.compile(load('config-schema.json'));
}

async function start(world: CrunWorld, changes: Partial<InstanceSpec> = {}): Promise<InstanceId> {
  const guest = await world.newGuest(changes.command ?? forEver, changes);
  await world.driver.create(guest, anySignal);
  await world.driver.start(guest.id, anySignal);
  return guest.id;
}

const statusOf = (pid: number): Record<string, string> =>
  Object.fromEntries(
    readFileSync(`/proc/${pid}/status`, 'utf8')
      .split('\n')
      .map((line) => line.split(':\t') as [string, string]),
  );

async function statusInside(world: CrunWorld, id: InstanceId): Promise<string> {
  const session = await world.driver.exec(
    id,
    {
      instance: '',
      command: ['/bin/grep', '-E', '^(NoNewPrivs|Seccomp|CapBnd|CapEff):', '/proc/self/status'],
      stdin: false,
      tty: false,
      size: { columns: 80, rows: 24 },
      env: {},
      user: '',
      workingDir: '',
      project: 'default',
    },
    anySignal,
  );
  let text = '';
  for await (const output of session.output)
    if (output.kind === 'stdout') text += Buffer.from(output.data).toString();
  return text;
}

describe('a guest of crun', () => {
  const specs: readonly (readonly [string, Partial<InstanceSpec>])[] = [
    ['with all limits', { resources: { cpuMillicores: 1500, memoryMib: 128, diskMib: 0, pids: 10 } }],
    ['without limits', { resources: { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 4096 } }],
    ['on the host network', { network: 'host' }],
    ['with a user and a directory', { user: '1000:1000', workingDir: '/tmp', env: { A: 'b\nc' } }],
  ];
  it.each(specs)('%s is written as the OCI schema has it', async (_, changes) => {
    await using world = await setUpCrun();
    const validate = ociValidator();
    const id = await start(world, changes);
    const config = JSON.parse(
      readFileSync(path.join(world.guestDirectory(id), 'config.json'), 'utf8'),
    ) as object;
    const valid = validate(config);
    expect({ valid, errors: validate.errors }).toEqual({ valid: true, errors: null });
    expect((await world.driver.inspect(id, anySignal)).phase).toBe('running');
  });

  it('has no new privileges, a filter, few capabilities, ids of its own; so has an exec', async () => {
    await using world = await setUpCrun();
    for (const round of ['compiled by crun', 'compiled before']) {
      const id = await start(world);
      const { pid } = await world.driver.inspect(id, anySignal);
      // Until then it is crun itself, which takes the filter last.
      await until(() => !statusOf(pid)['Name']?.includes('crun'), { what: 'the program of the guest' });
      const status = statusOf(pid);
      const { NoNewPrivs, Seccomp, CapBnd, CapEff } = status;
      const wanted = {
        NoNewPrivs: '1',
        Seccomp: '2',
        CapBnd: '00000000a80425fb',
        CapEff: '00000000a80425fb',
      };
      expect({ round, NoNewPrivs, Seccomp, CapBnd, CapEff }).toEqual({ round, ...wanted });
      expect(status['Uid']?.split('\t')[0]).toBe(`${testRange.base}`);
      const inside = Object.fromEntries(
        (await statusInside(world, id))
          .trim()
          .split('\n')
          .map((line) => line.split(':\t') as [string, string]),
      );
      expect({ round, ...inside }).toEqual({ round, ...wanted });
      const config = readFileSync(path.join(world.guestDirectory(id), 'config.json'), 'utf8');
      expect(config.includes('seccomp_bpf_data')).toBe(round === 'compiled before');
    }
  });

  it('spawns three tools in its life, and none for a look', async () => {
    await using world = await setUpCrun();
    await world.driver.remove(await start(world), anySignal);
    const before = Object.fromEntries(world.context.commands.spawns);
    const id = await start(world);
    for (let look = 0; look < 10; look += 1) await world.driver.inspect(id, anySignal);
    await world.driver.list(anySignal);
    await world.driver.stop(id, 0, anySignal);
    await world.driver.remove(id, anySignal);
    const after = Object.fromEntries(world.context.commands.spawns);
    expect({ conmon: (after['conmon'] ?? 0) - (before['conmon'] ?? 0) }).toEqual({ conmon: 1 });
    expect({ crun: (after['crun'] ?? 0) - (before['crun'] ?? 0) }).toEqual({ crun: 2 });
    expect(Object.keys(after).sort()).toEqual(['conmon', 'crun']);
  });

  it('cannot write to /sys on the host network', async () => {
    await using world = await setUpCrun();
    const script = 'echo x > /sys/kernel/mm/ksm/run || echo refused; grep " /sys " /proc/self/mountinfo';
    const id = await start(world, { network: 'host', command: ['/bin/sh', '-c', script] });
    await until(async () => (await world.driver.inspect(id, anySignal)).phase === 'stopped', {
      what: 'it ended',
    });
    const log = readFileSync(path.join(world.context.stateDir, 'guest-logs', id, 'current.log'), 'utf8');
    expect(log).toContain('refused');
    expect(log).toMatch(/ \/sys ro,/);
  });

  it('is said to have run out of memory when it did', async () => {
    await using world = await setUpCrun();
    const resources = { cpuMillicores: 0, memoryMib: 16, diskMib: 0, pids: 20 };
    const command = ['/bin/sh', '-c', 'dd if=/dev/zero of=/dev/null bs=100M count=1; exit 9'];
    const id = await start(world, { resources, command });
    const exit = await until(async () => (await world.driver.inspect(id, anySignal)).exit, {
      what: 'it ended',
    });
    expect(exit.outOfMemory).toBe(true);
  });

  it.each(['dev/console', 'dev/null', 'proc'])(
    'is refused when /%s of its image is a link',
    async (place) => {
      await using world = await setUpCrun();
      const guest = await world.newGuest(forEver);
      const link = path.join(guest.rootfs, place);
      await rm(link, { recursive: true, force: true });
      await symlink('/etc', link);
      await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'invalid-argument' });
    },
  );

  it('never runs while it owns /dev/null of the host, as after a kill of the agent in the middle', async () => {
    await using world = await setUpCrun();
    const guest = await world.newGuest(forEver);
    await world.driver.create(guest, anySignal);
    await chown('/dev/null', testRange.base, testRange.base);
    await world.reopen().start(guest.id, anySignal);
    expect(statSync('/dev/null').uid).toBe(0);
  });

  it('names the tool and its package where crun, conmon or perl is missing', async () => {
    await using world = await setUpCrun({ searchPath: '/nowhere' });
    const facts = await world.driver.fingerprint(anySignal);
    expect(facts).toMatchObject({
      healthy: false,
      detail: 'conmon is not installed; apt-get install conmon',
    });
    const guest = await world.newGuest(forEver);
    await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({
      kind: 'unavailable',
      nextStep: 'apt-get install conmon',
    });
  });
});

describe('the user of a guest', () => {
  const passwd = 'root:x:0:0::/root:/bin/sh\nweb:x:33:34:Web:/srv/web:/bin/sh\n';
  const group = 'root:x:0:\nwww:x:34:\nlogs:x:50:web,other\n';
  const rows: readonly (readonly [string, object])[] = [
    ['', { uid: 0, gid: 0, additionalGids: [], home: '/root' }],
    ['web', { uid: 33, gid: 34, additionalGids: [50], home: '/srv/web' }],
    ['33', { uid: 33, gid: 34, additionalGids: [50], home: '/srv/web' }],
    ['web:logs', { uid: 33, gid: 50, additionalGids: [], home: '/srv/web' }],
    ['1234', { uid: 1234, gid: 0, additionalGids: [], home: '/' }],
    ['1234:77', { uid: 1234, gid: 77, additionalGids: [], home: '/' }],
  ];
  it.each(rows)('%j is read with the files of the root', async (text, wanted) => {
    await using world = await setUpCrun();
    const { rootfs } = await world.newGuest(forEver);
    await writeFile(path.join(rootfs, 'etc/passwd'), passwd);
    await writeFile(path.join(rootfs, 'etc/group'), group);
    expect(await resolveUser(text, rootfs)).toEqual(wanted);
  });

  it.each(['nobody-here', 'web:none', 'a:b:c', '-1', '99999999999'])('%j is refused', async (text) => {
    await using world = await setUpCrun();
    const { rootfs } = await world.newGuest(forEver);
    await writeFile(path.join(rootfs, 'etc/passwd'), passwd);
    await expect(resolveUser(text, rootfs)).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it.each(['etc', 'etc/passwd'])('never follows a link of the guest out of its root: %s', async (place) => {
    await using world = await setUpCrun();
    const { rootfs } = await world.newGuest(forEver);
    const outside = path.join(world.directory, 'outside');
    await mkdir(outside);
    await writeFile(path.join(outside, 'passwd'), 'trap:x:7:7::/:/bin/sh\n');
    await chown(outside, testRange.base, testRange.base);
    await rm(path.join(rootfs, place), { recursive: true, force: true });
    await symlink(place === 'etc' ? outside : path.join(outside, 'passwd'), path.join(rootfs, place));
    await expect(resolveUser('trap', rootfs)).rejects.toMatchObject({ kind: 'invalid-argument' });
  });
});
