/**
 * A day of operations on real processes: containers of both kinds with data and networks are made, broken,
 * set back, changed, moved about and removed, hosts reboot, pools fill up and fall over, and agents are killed
 * all the while. `DROVER_SEED=n` kills as that seed says, `DROVER_SEED=calm` nobody.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { type CommandOutcome, type Fleet, type FleetHost, startFleet } from '../../scripts/fleet.ts';
import { prepareHost } from '../../scripts/host.ts';
import { until } from '../until.ts';
import { type Canaries, plantCanaries } from './canaries.ts';
import {
  type GuestRow,
  applyAndWait,
  conditionsOf,
  expectNoAddressTwice,
  guestsOf,
  inside,
  insist,
  only,
  settled,
  undoUpdate,
} from './day-driver.ts';
import { ask, nodesReady } from './drive.ts';
import { isAlive, readText } from './guests.ts';
import { addressesInside, datasetsOf, inNetwork, isFrozen, limitsOnHost, strangers } from './host-traces.ts';
import { type RandomKills, killAtRandom, seeded } from './random-kills.ts';
import { reboot, startTime } from './reboot.ts';

const seedText = process.env['DROVER_SEED'] ?? `${1 + Math.floor(Math.random() * 1_000_000)}`;
const calm = seedText === 'calm';
let fleet: Fleet;
let undo: () => void;
let image: string;
let tarball: string;
let kills: RandomKills;
const canaries = new Map<FleetHost, Canaries>();

beforeAll(async () => {
  undo = prepareHost(() => {});
  fleet = await startFleet({ hosts: 2, poolMib: 256, say: () => {} });
  image = await fleet.publishImage('small', '1');
  tarball = await fleet.buildSystemRoot();
}, 120_000);

afterAll(async () => {
  await kills?.stop();
  for (const canary of canaries.values()) canary.remove();
  const swept = await fleet?.tearDown();
  undo?.();
  expect(swept).toEqual([]);
}, 90_000);

const first = (): FleetHost => {
  const [host] = fleet.hosts;
  if (host === undefined) throw new Error('no host');
  return host;
};
const here = { placement: { require: ['zone = a'] }, networks: ['lan'], stop: { grace: '2s' } };
const databaseLimits = { cpu: '500m', memory: '64MiB', disk: '64MiB', pids: 64 };
const database = (more: Readonly<Record<string, unknown>> = {}) => ({
  kind: 'Workload',
  name: 'database',
  image: tarball,
  runtime: 'lxc',
  resources: databaseLimits,
  root: { pool: 'tank' },
  volumes: [
    { name: 'data', mount: '/data', pool: 'tank', keep: true },
    { name: 'scratch', mount: '/scratch', pool: 'tank' },
  ],
  startOrder: 1,
  ...here,
  ...more,
});
const site = (more: Readonly<Record<string, unknown>> = {}) => ({
  kind: 'Workload',
  name: 'site',
  image,
  runtime: 'crun',
  command: ['/bin/httpd', '-f', '-p', '80', '-h', '/pages'],
  resources: { cpu: '200m', memory: '32MiB', disk: '64MiB', pids: 32 },
  volumes: [
    { name: 'pages', mount: '/pages', pool: 'local', keep: true },
    { name: 'cache', mount: '/cache', pool: 'tank' },
  ],
  ports: [{ guest: 80 }],
  startOrder: 2,
  ...here,
  ...more,
});
const copies = (replicas: number) => ({
  kind: 'Workload',
  name: 'copies',
  image,
  runtime: 'crun',
  replicas,
  command: ['/bin/sh', '-c', 'while true; do sleep 1; done'],
  resources: { cpu: '50m', memory: '16MiB', pids: 16 },
  networks: ['lan'],
  update: { readyAfter: '300ms' },
  stop: { grace: '1s' },
});

async function step(name: string, work: () => Promise<void>): Promise<void> {
  const startedMs = systemClock.monotonicMs();
  try {
    await work();
    await checkAlways();
  } catch (error) {
    const story = `seed ${seedText}, ${kills.count()} kills, while it should ${name}`;
    throw new Error(`${story}: ${String(error)}\n${complaints()}`);
  } finally {
    console.log(`${name}: ${Math.round(systemClock.monotonicMs() - startedMs)} ms`);
  }
}

/** What the agents complained of last. */
const complaints = (): string =>
  fleet.hosts
    .map(({ name, logFile }) => {
      const lines = readText(logFile).split('\n');
      const loud = lines.filter((line) => !line.startsWith('{"level":30') && line !== '').slice(-5);
      return [`--- ${name}`, ...loud.map((line) => line.slice(0, 600))].join('\n');
    })
    .join('\n');

/** Holds at every moment, not only in the evening. */
async function checkAlways(): Promise<void> {
  await until(
    () =>
      expectNoAddressTwice(fleet, addressesInside).then(
        () => true,
        () => false,
      ),
    { what: 'every address to be one guest’s own', deadlineMs: 20_000, everyMs: 200 },
  ).catch(() => expectNoAddressTwice(fleet, addressesInside));
}

const pidOf = ({ observed }: GuestRow): number => observed?.pid ?? 0;

/** As the host reaches the published port. */
async function fetchPage(): Promise<string> {
  const row = await only(fleet, 'site');
  const port = row.assigned?.ports?.[0]?.hostPort ?? 0;
  return inNetwork(first().host.pid, 'busybox', 'wget', '-q', '-O', '-', `http://10.78.0.1:${port}/`).trim();
}
const pageSays = (text: string): Promise<unknown> =>
  until(
    () =>
      fetchPage().then(
        (found) => found === text,
        () => false,
      ),
    {
      what: `the published port to say ${text}`,
      deadlineMs: 30_000,
      everyMs: 200,
    },
  );

async function morning(): Promise<void> {
  const lan = { kind: 'Network', name: 'lan', subnets: [{ cidr: '10.78.0.0/24' }] };
  for (const spec of [lan, database(), site(), copies(2)]) await applyAndWait(fleet, spec);
  await only(fleet, 'database');
  await settled(fleet, 'copies', 2);
  await inside(fleet, 'database', 'echo one > /data/file; echo one > /scratch/file; echo one > /mark; sync');
  await inside(fleet, 'site', 'echo one > /pages/index.html; echo one > /cache/file; sync');
  await pageSays('one');
  // Who looks for what is left must be able to see it.
  const seen = await strangers(fleet, new Set());
  const kinds = new Set(seen.map((trace) => trace.split(' ')[1]));
  const every = ['cgroup', 'dataset', 'file', 'interface', 'mount', 'process', 'rules'];
  expect(kinds).toEqual(new Set(every));
}

async function snapshotAndRollBack(): Promise<void> {
  const taken = ({ code, stderr }: CommandOutcome): boolean => code === 0 || /already|taken/.test(stderr);
  for (const name of ['database', 'site'])
    await insist(fleet, ['snapshot', 'create', name, '--name', 'noon'], taken);
  await inside(fleet, 'database', 'rm -f /data/file /mark; echo broken > /scratch/file; sync');
  await inside(fleet, 'site', 'rm -f /pages/index.html; sync');
  for (const name of ['database', 'site'])
    await insist(fleet, ['snapshot', 'rollback', name, 'noon', '--yes']);
  expect(await inside(fleet, 'database', 'cat /data/file /scratch/file /mark')).toBe('one\none\none');
  await pageSays('one');
}

async function changeLimits(): Promise<void> {
  const before = [await only(fleet, 'database'), await only(fleet, 'site')];
  await applyAndWait(fleet, database({ resources: { ...databaseLimits, memory: '96MiB', pids: 99 } }));
  await applyAndWait(fleet, site({ resources: { cpu: '300m', memory: '48MiB', disk: '64MiB', pids: 48 } }));
  const changed = ({ observed }: GuestRow): boolean => [99, 48].includes(observed?.limits?.pids ?? 0);
  const after = [await only(fleet, 'database', changed), await only(fleet, 'site', changed)];
  expect(after.map(pidOf)).toEqual(before.map(pidOf));
  expect(after.map(({ metadata }) => limitsOnHost(first(), metadata.id))).toEqual([
    { memoryMib: 96, pids: 99, cpuMillicores: 500 },
    { memoryMib: 48, pids: 48, cpuMillicores: 300 },
  ]);
}

async function updateInPlace(): Promise<void> {
  const before = await only(fleet, 'database');
  await applyAndWait(fleet, database({ env: { MODE: 'two' } }));
  const after = await only(fleet, 'database', (row) => pidOf(row) !== pidOf(before));
  expect(after.metadata.id).toBe(before.metadata.id);
  expect(after.observed?.addresses).toEqual(before.observed?.addresses);
  expect(await inside(fleet, 'database', 'echo $MODE; cat /data/file /mark')).toBe('two\none\none');
  await inside(fleet, 'database', 'echo two > /data/file; echo two > /mark; sync');
  // A node that does not answer is a line of its own.
  const isListed = ({ stdout }: CommandOutcome): boolean => /before-update-\d+ +before-update/.test(stdout);
  await insist(fleet, ['snapshot', 'list', 'database'], isListed);
  await undoUpdate(fleet, 'database');
  expect(await inside(fleet, 'database', 'echo -$MODE-; cat /data/file /mark')).toBe('--\none\none');
}

async function pauseAndResume(): Promise<void> {
  for (const name of ['database', 'site']) {
    const row = await only(fleet, name);
    await insist(fleet, ['pause', row.metadata.name]);
    expect(isFrozen(first(), row.metadata.id)).toBe(true);
    await insist(fleet, ['resume', row.metadata.name]);
    expect(isFrozen(first(), row.metadata.id)).toBe(false);
    expect(pidOf(await only(fleet, name))).toBe(pidOf(row));
  }
  await pageSays('one');
}

async function scale(): Promise<void> {
  for (const count of [5, 1, 3]) {
    await insist(fleet, ['scale', 'copies', `${count}`, '--detach']);
    await settled(fleet, 'copies', count);
  }
}

async function rebootFirst(): Promise<void> {
  const before = [await only(fleet, 'database'), await only(fleet, 'site')];
  await kills.during(async () => {
    await fleet.stopAgent(first(), 'SIGKILL');
    await reboot(first());
    canaries.get(first())?.plantAgain();
    fleet.startAgent(first());
  });
  const isNew = (row: GuestRow): boolean => isAlive(pidOf(row)) && !before.map(pidOf).includes(pidOf(row));
  const after = [await only(fleet, 'database', isNew), await only(fleet, 'site', isNew)];
  const [one = 0, other = 0] = after.map(pidOf).map(startTime);
  expect(one).toBeLessThanOrEqual(other);
  expect(after.map(({ metadata }) => metadata.id)).toEqual(before.map(({ metadata }) => metadata.id));
  expect(after.map(({ observed }) => observed?.addresses)).toEqual(
    before.map(({ observed }) => observed?.addresses),
  );
  expect(await inside(fleet, 'database', 'cat /data/file /mark')).toBe('one\none');
  await settled(fleet, 'copies', 3);
  await pageSays('one');
}

const condition = (type: string, holds: boolean): Promise<unknown> =>
  until(async () => (await conditionsOf(fleet, first().name)).includes(type) === holds, {
    what: `the condition ${type} to ${holds ? 'hold' : 'go'}`,
    deadlineMs: 60_000,
    everyMs: 500,
  });

/** Nobody is killed: it heals by itself, and not because it was started again. */
const fillAndHeal = (): Promise<void> =>
  kills.during(async () => {
    await nodesReady(fleet, 2);
    const agent = first().agent?.pid;
    const filled = await inside(
      fleet,
      'database',
      'dd if=/dev/urandom of=/scratch/fill bs=1M 2>&1; echo full',
    );
    expect(filled).toMatch(/No space left on device/);
    await condition('PoolFull', true);
    const late = { ...copies(1), ...here, name: 'late', root: { pool: 'tank' } };
    const args = ['apply', '-f', '-', '--wait', '--timeout', '30s'];
    const refused = await fleet.drover(args, { input: JSON.stringify(late) });
    expect(refused).toMatchObject({ code: 7, stderr: expect.stringMatching(/lack a usable pool/) });
    const [unplaced] = await guestsOf(fleet, 'late');
    const why = await fleet.drover(['explain', unplaced?.metadata.name ?? '']);
    expect(why.stdout).toMatch(/h1: its pool tank takes nothing new: tank: \d+ MiB of \d+ MiB free/);
    const failed = await fleet.drover(['snapshot', 'create', 'database', '--name', 'full']);
    expect(failed.stderr).toMatch(/out of space/);
    await inside(fleet, 'database', 'rm /scratch/fill; sync');
    await condition('PoolFull', false);
    await only(fleet, 'late');
    expect(first().agent?.pid).toBe(agent);
    await insist(fleet, ['delete', 'late', '--yes', '--wait', '--timeout', '60s']);
  });

const loseZfs = (): Promise<void> =>
  kills.during(async () => {
    const agent = first().agent?.pid;
    await first().host.zfs?.kill();
    await condition('PoolUnavailable', true);
    await first().host.zfs?.start();
    await condition('PoolUnavailable', false);
    // Its mounts have died with the daemon; a start makes them anew.
    const before = [await only(fleet, 'database'), await only(fleet, 'site')];
    for (const { metadata } of before) await insist(fleet, ['kill', metadata.name, '--signal', 'KILL']);
    const isNew = (row: GuestRow): boolean => !before.map(pidOf).includes(pidOf(row));
    await only(fleet, 'database', isNew);
    await only(fleet, 'site', isNew);
    expect(await inside(fleet, 'database', 'cat /data/file /scratch/file /mark')).toBe('one\none\none');
    expect(await inside(fleet, 'site', 'cat /cache/file')).toBe('one');
    await pageSays('one');
    expect(first().agent?.pid).toBe(agent);
  });

async function tellHowItEnded(): Promise<void> {
  const brief = { ...copies(1), name: 'brief', restart: { policy: 'never' } };
  await applyAndWait(fleet, { ...brief, command: ['/bin/sh', '-c', 'sleep 2; exit 7'] });
  const exit = await until(async () => (await guestsOf(fleet, 'brief'))[0]?.observed?.exit, {
    what: 'it to end',
    deadlineMs: 60_000,
    everyMs: 200,
  });
  expect(exit.unknown === true || exit.code === 7).toBe(true);
}

async function evening(): Promise<void> {
  const volumes = (await ask<GuestRow[]>(fleet, 'get', 'instances')).flatMap(
    ({ workload, assigned }) =>
      assigned?.volumes?.map(({ name, volumeId }) => [`${workload}/${name}`, volumeId] as const) ?? [],
  );
  const kept = volumes.filter(([name]) => ['database/data', 'site/pages'].includes(name));
  expect(kept).toHaveLength(2);
  for (const name of ['database', 'site', 'copies', 'brief'])
    await insist(fleet, ['delete', name, '--yes', '--detach']);
  await until(async () => (await ask<unknown[]>(fleet, 'get', 'instances')).length === 0, {
    what: 'everything to be gone',
    deadlineMs: 60_000,
    everyMs: 300,
  });
  await insist(fleet, ['network', 'remove', 'lan', '--yes']);
  await kills.stop();
  await nodesReady(fleet, 2);
  const left = new Set([...kept.map(([, id]) => id), 'foreign']);
  const look = (): Promise<string[]> => strangers(fleet, left);
  await until(async () => (await look()).length === 0, {
    what: 'nothing to be left that belongs to nobody',
    deadlineMs: 60_000,
    everyMs: 500,
  }).catch(async () => expect(await look()).toEqual([]));
  expect((await ask<{ name: string }[]>(fleet, 'get', 'volumes')).length).toBe(2);
  expect((await datasetsOf(first().host)).join('\n')).toContain(kept[0]?.[1]);
}

/** A workload of the same name finds what was kept, and what was not is new. */
async function findAgain(): Promise<void> {
  await applyAndWait(fleet, { kind: 'Network', name: 'lan', subnets: [{ cidr: '10.78.0.0/24' }] });
  await applyAndWait(fleet, database());
  await applyAndWait(fleet, site());
  expect(await inside(fleet, 'database', 'cat /data/file; ls /scratch')).toBe('one');
  expect(await inside(fleet, 'site', 'cat /pages/index.html; ls /cache')).toBe('one');
  for (const name of ['database', 'site'])
    await insist(fleet, ['delete', name, '--yes', '--wait', '--timeout', '60s']);
  for (const volume of ['database-data-0', 'site-pages-0'])
    await insist(fleet, ['volume', 'remove', volume, '--yes']);
  await insist(fleet, ['network', 'remove', 'lan', '--yes']);
  await until(async () => (await strangers(fleet, new Set(['foreign']))).length === 0, {
    what: 'nothing to be left',
    deadlineMs: 30_000,
    everyMs: 500,
  }).catch(async () => expect(await strangers(fleet, new Set(['foreign']))).toEqual([]));
}

it('keeps every promise through a day of operations', { timeout: 480_000 }, async () => {
  console.log(`seed ${seedText}`);
  const random = seeded(Number(seedText) || 0);
  for (const host of fleet.hosts) canaries.set(host, await plantCanaries(host));
  const looks = await Promise.all([...canaries.values()].map((canary) => canary.look()));
  const pace = calm ? { fromMs: 1e9, toMs: 1e9 } : { fromMs: 1000, toMs: 4000 };
  kills = killAtRandom(fleet, random, pace);
  await step('make the morning’s guests', morning);
  await step('take snapshots and roll back', snapshotAndRollBack);
  await step('change limits as they run', changeLimits);
  await step('update in place and undo it', updateInPlace);
  await step('pause and resume', pauseAndResume);
  await step('scale', scale);
  await step('reboot a host', rebootFirst);
  await step('fill a pool and heal it', fillAndHeal);
  await step('lose the ZFS daemon and get it back', loseZfs);
  await step('tell how a guest ended', tellHowItEnded);
  await step('remove everything', evening);
  await step('find again what was kept', findAgain);
  expect(await Promise.all([...canaries.values()].map((canary) => canary.look()))).toEqual(looks);
  if (!calm) expect(kills.count()).toBeGreaterThan(3);
  console.log(`${kills.count()} agents were killed`);
});
