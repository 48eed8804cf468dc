/**
 * `npm run quickstart`: a fleet of two simulated hosts on this machine, running examples/hello.yaml,
 * network.yaml and system.yaml, until Ctrl-C. With --once it checks that all of it really runs, takes
 * everything down again, and tells by its exit code.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Fleet, startFleet } from './fleet.ts';
import { prepareHost } from './host.ts';
import { checkAnswers, checkConfined, checkSystemContainer, instancesOf } from './quickstart-checks.ts';

const root = path.resolve(import.meta.dirname, '..');
const once = process.argv.includes('--once');
const say = (line: string): void => console.error(`• ${line}`);

if (process.getuid?.() !== 0) {
  console.error(
    'error: the quickstart makes containers, mounts and network namespaces, which needs root\n' +
      '  next: run it as root',
  );
  process.exit(1);
}

async function show(fleet: Fleet, ...args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await fleet.drover(args);
  console.log(`\n$ ./drover ${args.join(' ')}\n${stdout}${stderr}`.trimEnd());
  if (code !== 0) throw new Error(`drover ${args.join(' ')} ended with ${code}`);
}

/** One of the examples, with what the fleet made in the place of what it names. */
async function applyExample(
  fleet: Fleet,
  name: string,
  replacements: Readonly<Record<string, string>> = {},
): Promise<void> {
  let text = readFileSync(path.join(root, 'examples', name), 'utf8');
  for (const [from, to] of Object.entries(replacements)) text = text.replaceAll(from, to);
  const file = path.join(fleet.folder, name);
  writeFileSync(file, text);
  say(`applying examples/${name} …`);
  const applied = await fleet.drover(['apply', '-f', file, '--wait']);
  process.stderr.write(applied.stderr);
  if (applied.code !== 0) throw new Error(`apply ended with ${applied.code}`);
}

const exampleImage = '127.0.0.1:5000/hello:1';

/** The answer is the name of one that runs. */
async function playHello(fleet: Fleet, image: string): Promise<string> {
  await applyExample(fleet, 'hello.yaml', { [exampleImage]: image });
  await show(fleet, 'get', 'nodes');
  await show(fleet, 'get', 'workloads');
  await show(fleet, 'get', 'instances', '-o', 'wide');
  const rows = await instancesOf(fleet, 'hello');
  if (rows.length !== 2) throw new Error(`wanted 2 instances, found ${rows.length}`);
  for (const row of rows) say(checkConfined(row));
  const first = rows[0]?.metadata.name ?? '';
  await show(fleet, 'explain', first);
  await show(fleet, 'logs', first, '--tail', '1');
  return first;
}

async function playSystem(fleet: Fleet, image: string): Promise<string> {
  const tarball = await fleet.buildSystemRoot();
  say(`made ${tarball}`);
  await applyExample(fleet, 'network.yaml');
  const hasZfs = fleet.hosts.every(({ host }) => host.zfs !== undefined);
  if (!hasZfs) say('this machine has a ZFS of its own: the example takes the directory pool');
  await applyExample(fleet, 'system.yaml', {
    'tar:/srv/templates/system.tar.gz': tarball,
    [exampleImage]: image,
    ...(hasZfs ? {} : { 'pool: tank': 'pool: local' }),
  });
  await show(fleet, 'get', 'networks');
  await show(fleet, 'get', 'instances', '-o', 'wide');
  const [system] = await instancesOf(fleet, 'system');
  const [neighbour] = await instancesOf(fleet, 'neighbour');
  if (system === undefined || neighbour === undefined) throw new Error('system.yaml made no instances');
  for (const line of await checkSystemContainer(fleet, system)) say(line);
  say(checkConfined(neighbour));
  say(await checkAnswers(fleet, system, neighbour));
  await show(fleet, 'snapshot', 'create', 'system', '--name', 'first');
  await show(fleet, 'snapshot', 'list', 'system');
  return system.metadata.name;
}

/** Names of some that run. */
interface Instances {
  readonly hello: string;
  readonly system: string;
}

async function play(fleet: Fleet): Promise<Instances> {
  const image = await fleet.publishImage('hello', '1');
  say(`published ${image}`);
  const hello = await playHello(fleet, image);
  return { hello, system: await playSystem(fleet, image) };
}

/** Also what somebody who looked around made. */
async function removeAll(fleet: Fleet): Promise<void> {
  say('removing the workloads and the networks …');
  for (const [list, ...remove] of [
    ['workloads', 'delete', '--wait', '--timeout', '60s'],
    ['networks', 'network', 'remove'],
  ] as const) {
    const { stdout } = await fleet.drover(['get', list, '-o', 'name']);
    for (const name of stdout.split('\n').filter(Boolean)) {
      const [command, ...words] = remove;
      const { code, stderr } = await fleet.drover([command, ...words, name, '--yes']);
      if (code !== 0) throw new Error(`${[...remove, name].join(' ')} ended with ${code}: ${stderr}`);
    }
  }
}

function nextCommands(fleet: Fleet, { hello, system }: Instances): void {
  const lines = [
    ...Object.entries(fleet.environment).map(([name, value]) => `export ${name}=${value}`),
    './drover get instances -o wide',
    './drover logs -f hello',
    `./drover exec -it ${hello} /bin/sh`,
    './drover scale hello 5',
    `./drover console ${system}`,
    './drover stats system',
    './drover snapshot rollback system first --yes',
    './drover describe network lan',
    './drover events',
    './drover delete hello --yes',
  ];
  console.log(
    `\nThe fleet is up. In another shell, in ${root}:\n\n${lines.map((line) => `  ${line}`).join('\n')}\n`,
  );
  console.log('Ctrl-C here ends the fleet and undoes everything.');
}

const stopped = new Promise<void>((resolve) => {
  process.once('SIGINT', () => resolve());
  process.once('SIGTERM', () => resolve());
});

async function main(): Promise<number> {
  const undo = prepareHost(say);
  let fleet: Fleet | undefined;
  try {
    fleet = await startFleet({ hosts: 2, say });
    const instances = await play(fleet);
    if (!once) {
      nextCommands(fleet, instances);
      await stopped;
    }
    await removeAll(fleet);
    return 0;
  } catch (error) {
    console.error(`error: ${(error as Error).message}`);
    if (fleet !== undefined) for (const file of logFiles(fleet)) console.error(`--- ${file}\n${tail(file)}`);
    return 1;
  } finally {
    const swept = (await fleet?.tearDown()) ?? [];
    for (const what of swept) say(`had to be removed by force: ${what}`);
    undo();
    say('everything is taken down');
  }
}

function logFiles(fleet: Fleet): string[] {
  return [path.join(fleet.folder, 'control-plane.log'), ...fleet.hosts.map(({ logFile }) => logFile)];
}

function tail(file: string): string {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(-15).join('\n');
  } catch {
    return '(no log)';
  }
}

process.exitCode = await main();
