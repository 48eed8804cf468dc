/**
 * `npm run quickstart`: a fleet of two simulated hosts on this machine, running examples/hello.yaml, until
 * Ctrl-C. With --once it checks that containers really run, takes everything down again, and tells by its
 * exit code.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Fleet, startFleet } from './fleet.ts';
import { prepareHost } from './host.ts';

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

interface InstanceRow {
  readonly metadata: { readonly name: string };
  readonly node: string;
  readonly observed?: { readonly pid?: number; readonly phase?: string };
}

/** The command line says that they run; the host must say so too. */
async function checkGuests(fleet: Fleet): Promise<string> {
  const { stdout } = await fleet.drover(['get', 'instances', '-o', 'json']);
  const rows = JSON.parse(stdout) as InstanceRow[];
  if (rows.length !== 2) throw new Error(`wanted 2 instances, found ${rows.length}`);
  for (const { metadata, node, observed } of rows) {
    const status = readFileSync(`/proc/${observed?.pid ?? 0}/status`, 'utf8');
    const maps = readFileSync(`/proc/${observed?.pid ?? 0}/uid_map`, 'utf8')
      .trim()
      .split(/\s+/);
    if (!/NoNewPrivs:\s*1/.test(status) || !/Seccomp:\s*2/.test(status) || maps[1] === '0') {
      throw new Error(`${metadata.name} on ${node} runs, but not as safely as it should`);
    }
    say(
      `${metadata.name} runs on ${node} as process ${observed?.pid}: ` +
        'user namespace, seccomp and no new privileges seen on the host',
    );
  }
  return rows[0]?.metadata.name ?? '';
}

async function play(fleet: Fleet): Promise<string> {
  const image = await fleet.publishImage('hello', '1');
  say(`published ${image}`);
  const text = readFileSync(path.join(root, 'examples/hello.yaml'), 'utf8').replace(
    '127.0.0.1:5000/hello:1',
    image,
  );
  const file = path.join(fleet.folder, 'hello.yaml');
  writeFileSync(file, text);
  say('applying examples/hello.yaml …');
  const applied = await fleet.drover(['apply', '-f', file, '--wait']);
  process.stderr.write(applied.stderr);
  if (applied.code !== 0) throw new Error(`apply ended with ${applied.code}`);
  await show(fleet, 'get', 'nodes');
  await show(fleet, 'get', 'workloads');
  await show(fleet, 'get', 'instances', '-o', 'wide');
  const first = await checkGuests(fleet);
  await show(fleet, 'explain', first);
  await show(fleet, 'logs', first, '--tail', '1');
  return first;
}

function nextCommands(fleet: Fleet, instance: string): void {
  const lines = [
    ...Object.entries(fleet.environment).map(([name, value]) => `export ${name}=${value}`),
    './drover get instances -o wide',
    './drover logs -f hello',
    `./drover exec -it ${instance} /bin/sh`,
    './drover scale hello 5',
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
    const instance = await play(fleet);
    if (!once) {
      nextCommands(fleet, instance);
      await stopped;
    }
    say('removing the workload …');
    const deleted = await fleet.drover(['delete', 'hello', '--yes', '--wait', '--timeout', '60s']);
    if (deleted.code !== 0) throw new Error(`delete ended with ${deleted.code}: ${deleted.stderr}`);
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
