/** The program as people run it, against a control plane that answers from literals. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { type FakeFleetServer, startFleetServer } from '../../test/fakes/fleet-server.ts';
import { commands } from './commands/index.ts';

const root = path.resolve(import.meta.dirname, '../..');
let server: FakeFleetServer;
let folder: string;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function drover(args: readonly string[], input?: string): Promise<Outcome> {
  const env = {
    ...process.env,
    XDG_CONFIG_HOME: path.join(folder, 'config'),
    XDG_CACHE_HOME: path.join(folder, 'cache'),
  };
  const child = spawn(path.join(root, 'drover'), args, { env, cwd: folder, stdio: 'pipe' });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // Left open where nothing is typed: the program must end all the same.
  if (input !== undefined) child.stdin.end(input);
  const code = await new Promise<number>((resolve) => child.on('close', (ended) => resolve(ended ?? -1)));
  child.stdin.destroy();
  return { code, stdout, stderr };
}

const spec = (name: string, more = ''): string =>
  `kind: Workload\nname: ${name}\nimage: registry.example/web:1\n${more}`;

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'drover-cli-'));
  server = await startFleetServer(systemClock.nowMs());
  writeFileSync(path.join(folder, 'admin.yaml'), server.admin);
  writeFileSync(path.join(folder, 'web.yaml'), spec('web'));
  writeFileSync(path.join(folder, 'secret'), '5ec2e700-0000-4000-8000-0000000000ff\n');
  writeFileSync(path.join(folder, 'routing.yaml'), 'kind: Routing\nrules: []\n');
  await drover(['context', 'import', 'admin.yaml']);
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** What each command is given; a new command has no row here and fails. */
const argumentsOf: Readonly<Record<string, readonly string[]>> = {
  apply: ['-f', 'web.yaml', '--wait'],
  plan: ['-f', 'web.yaml'],
  get: ['nodes'],
  describe: ['instance', 'web-x7k2p'],
  explain: ['web-x7k2p'],
  scale: ['web', '2', '--wait'],
  delete: ['web', '--yes', '--detach'],
  logs: ['web'],
  exec: ['web-x7k2p', '--', '/bin/cat'],
  kill: ['web-x7k2p', '--signal', 'HUP'],
  events: [],
  'node token': ['h2'],
  'node join': ['TOKEN'],
  'node list': [],
  'node cordon': ['h1'],
  'node uncordon': ['h1'],
  'node remove': ['h1', '--lost', '--yes'],
  rollback: ['web', '--yes'],
  console: ['web-x7k2p'],
  stats: [],
  pause: ['web-x7k2p'],
  resume: ['web-x7k2p'],
  freeze: ['web-x7k2p'],
  thaw: ['web-x7k2p'],
  'network list': [],
  'network remove': ['lan', '--yes'],
  'volume list': [],
  'volume remove': ['web-data-0', '--yes'],
  'snapshot create': ['web', '--name', 'first'],
  'snapshot list': ['web'],
  'snapshot rollback': ['web', 'first', '--yes'],
  'snapshot remove': ['web', 'first', '--yes'],
  'routing show': [],
  'routing set': ['-f', 'routing.yaml'],
  'image list': [],
  'image pull': ['registry.example/web:1'],
  'image remove': ['registry.example/web:1', '--node', 'h1'],
  'context list': [],
  'context use': ['lab'],
  'context show': [],
  'context import': ['admin.yaml', '--name', 'second'],
  'context remove': ['second', '--yes'],
  drain: ['h1'],
  'cluster add': [
    'lab',
    '--endpoint=10.0.0.11',
    '--token-id=drover@pve!fleet',
    '--token-file=secret',
    '--fingerprint=ab:cd',
  ],
  'cluster list': [],
  'cluster describe': ['lab'],
  'cluster test': ['lab'],
  'cluster update': ['lab', '--endpoint', '10.0.0.12'],
  'cluster remove': ['lab', '--yes'],
  clone: ['lab/105', '--as', 'shop'],
  'template create': ['golden', '--from', 'lab/105'],
  'template list': [],
  'template remove': ['lab/golden', '--yes'],
  adopt: ['lab/105', '--as', 'shop'],
  release: ['shop'],
  completion: ['bash'],
  version: [],
};

describe('every command', () => {
  // The guest's output is the result of exec; joining and local speak to an agent, which is not here.
  const walked = commands.filter(
    ({ name }) => name !== 'exec' && name !== 'console' && name !== 'node join' && !name.startsWith('local '),
  );

  it.each(walked.map(({ name }) => [name]))('%s prints one JSON result with -o json', async (name) => {
    const outcome = await drover([...name.split(' '), ...(argumentsOf[name] ?? ['?']), '-o', 'json']);
    expect({ ...outcome, stdout: '' }).toMatchObject({ code: name === 'plan' ? 3 : 0 });
    expect(() => JSON.parse(outcome.stdout) as unknown).not.toThrow();
  });

  it.each([
    ['nodes'],
    ['workloads'],
    ['instances'],
    ['images'],
    ['operations'],
    ['networks'],
    ['clusters'],
    ['guests'],
  ])('lists %s in every form', async (kind) => {
    const [json, table, names] = await Promise.all(
      ['json', 'wide', 'name'].map((form) => drover(['get', kind, '-o', form])),
    );
    expect(JSON.parse(json?.stdout ?? '')).toHaveLength(1);
    expect(table?.stdout).toMatch(/^(NAME|NODE|ID|CLUSTER) +/);
    expect(names?.stdout.trim().split('\n')).toHaveLength(1);
  });

  it('shows what stands in the way first, what to do, and the way there', async () => {
    const asked = ['explain', 'web', '--portability', '--to', 'proxmox-lxc'];
    const [text, json] = await Promise.all([drover(asked), drover([...asked, '-o', 'json'])]);
    const lines = text.stdout.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | ').trim());
    expect(lines).toEqual([
      'web from lxc to proxmox-lxc: 1 in the way, 0 changed, 1 as before',
      '',
      expect.stringMatching(/^WHAT/),
      'ports | stands in the way | 80:80/tcp | none\\x1b[2J',
      'host name | carries over | web-x7k2p | web-x7k2p',
      '',
      'What to do',
      '| ports: take them out',
      '',
      'How each copy would get there (not done by Drover yet)',
      '| 1. stop: ask its init to end',
      '| lost: processes',
      '| 2. start: start it',
      '',
    ]);
    expect(JSON.parse(json.stdout)).toMatchObject({ from: 'lxc', steps: [{ lost: 'processes' }, {}] });
    const missing = await drover(['explain', 'wbe', '--portability', '--to', 'proxmox-lxc']);
    expect(missing).toMatchObject({ code: 5 });
  });

  it('escapes what comes from the fleet', async () => {
    const [list, logs, raw] = await Promise.all([
      drover(['get', 'instances']),
      drover(['logs', 'web']),
      drover(['logs', 'web', '--raw']),
    ]);
    expect(list.stdout).toContain('\\x1b[31mred');
    expect(logs.stdout).toBe('web-x7k2p: hello \\x1b[2J\n');
    expect(raw.stdout).toContain('\u001b[2J');
  });
});

describe('freeze with a command', () => {
  const both = ['freeze web-x7k2p', 'thaw web-x7k2p'];
  it.each([
    ['has its exit code', ['web-x7k2p', '--', 'sh', '-c', 'echo done; exit 7'], 7, both],
    ['thaws when the command is not there', ['web-x7k2p', '--', '/nowhere/at-all'], 2, both],
    ['thaws when the command is killed', ['web-x7k2p', '--', 'sh', '-c', 'kill -TERM $$'], 143, both],
    [
      'thaws after one Ctrl-C and another, once the command has ended',
      ['web-x7k2p', '--', 'sh', '-c', 'kill -INT $PPID; kill -INT $PPID; sleep 0.3; exit 5'],
      5,
      both,
    ],
    [
      'thaws when it is told to end',
      ['web-x7k2p', '--', 'sh', '-c', 'trap "exit 9" TERM; kill -TERM $PPID; sleep 1 & wait'],
      9,
      both,
    ],
    ['runs nothing where nothing can be frozen', ['web-crun1', '--', 'touch', 'ran'], 1, []],
    [
      'leaves to itself what somebody else froze',
      ['web-cold1', '--', 'touch', 'ran'],
      1,
      ['freeze web-cold1'],
    ],
    ['thaws where the answer was lost', ['web-lost1', '--', 'touch', 'ran'], 1, ['thaw web-lost1']],
  ])('%s', async (_title, args, code, asked) => {
    server.freezes.length = 0;
    expect(await drover(['freeze', ...args])).toMatchObject({ code });
    expect(server.freezes).toEqual(asked);
    expect(existsSync(path.join(folder, 'ran'))).toBe(false);
  });
});

describe('exit codes and errors', () => {
  const rows: readonly (readonly [string, number, readonly string[], string | undefined, RegExp])[] = [
    ['a command that is not there', 2, ['aply'], undefined, /Did you mean apply\?/],
    ['a flag that is not there', 2, ['get', 'nodes', '--outptu', 'json'], undefined, /--output/],
    ['a list that is not there', 2, ['get', 'nods'], undefined, /did you mean \\?"nodes/],
    ['a signal that is not there', 2, ['kill', 'web-x7k2p', '-s', 'HPU'], undefined, /did you mean \\?"HUP/],
    ['a wrong spec', 2, ['apply', '-f', '-'], spec('web', 'replica: 3\n'), /<stdin>:4:1/],
    [
      'a spec that the control plane refuses',
      2,
      ['apply', '-f', '-'],
      spec('web', 'workingDir: rel\n'),
      /<stdin>:4:1/,
    ],
    ['a plan that changes something', 3, ['plan', '-f', '-'], spec('web'), /^$/],
    ['a plan that changes nothing', 0, ['plan', '-f', '-'], spec('same'), /^$/],
    ['what is not allowed', 4, ['apply', '-f', '-'], spec('secret'), /may not apply/],
    ['what is not there', 5, ['describe', 'workload', 'wbe'], undefined, /did you mean \\?"web/],
    ['a file that is not there', 5, ['apply', '-f', 'none.yaml'], undefined, /none\.yaml/],
    ['a lost race', 6, ['apply', '-f', '-'], spec('raced'), /changed since the plan/],
    ['what another change overtook', 6, ['apply', '-f', '-', '--wait'], spec('overtaken'), /later change/],
    ['what fits nowhere', 7, ['apply', '-f', '-', '--wait'], spec('stuck'), /0 of 2/],
    [
      'a wait that was too short',
      8,
      ['apply', '-f', '-', '--wait', '--timeout', '1s'],
      spec('slow'),
      /op-slow/,
    ],
    [
      'a pull of what is not there',
      5,
      ['image', 'pull', 'registry.example/missing:1'],
      undefined,
      /no such image/,
    ],
    [
      'a pull that takes too long',
      8,
      ['image', 'pull', 'registry.example/slow:1', '--timeout', '1s'],
      undefined,
      /longer --timeout/,
    ],
    [
      'a delete of what was adopted, with a yes to everything',
      1,
      ['delete', 'intranet', '--yes', '--detach'],
      undefined,
      /lab\/101 of intranet was adopted[^]*drover release intranet/,
    ],
    [
      'a delete of what was adopted, when that is said',
      0,
      ['delete', 'intranet', '--yes', '--destroy-adopted', '--detach'],
      undefined,
      /^$/,
    ],
    ['a delete that nobody confirmed', 2, ['delete', 'web'], undefined, /--yes/],
    ['the exit code of a command inside', 137, ['exec', 'web-x7k2p', '--', '/bin/cat'], 'typed', /^$/],
  ];

  it.each(rows)('%s ends with %i', async (_name, code, args, input, said) => {
    const outcome = await drover(args, input);
    expect({ args, code: outcome.code, stderr: outcome.stderr }).toMatchObject({ code });
    expect(outcome.stderr).toMatch(said);
  });

  const results: readonly (readonly [string, number, readonly string[], RegExp])[] = [
    [
      'a pull that failed on some nodes',
      10,
      ['image', 'pull', 'registry.example/web:partly'],
      /h2: failed: no room/,
    ],
    [
      'a pull that failed on all',
      1,
      ['image', 'pull', 'registry.example/web:none', '-n', 'h1'],
      /h1: failed/,
    ],
    [
      'a removal of what is used',
      1,
      ['image', 'remove', 'registry.example/used:1'],
      /h1: failed: 1 instance/,
    ],
  ];

  it.each(results)('%s ends with %i, and is told node by node', async (_name, code, args, said) => {
    const [plain, json] = await Promise.all([drover(args), drover([...args, '-o', 'json'])]);
    expect([plain.code, json.code]).toEqual([code, code]);
    expect(plain.stderr).toMatch(said);
    const rows = JSON.parse(json.stdout) as { readonly error?: string }[];
    expect(rows.filter(({ error }) => error !== undefined)).toHaveLength(1);
  });

  it('passes standard input on and gives back what the command says', async () => {
    const { stdout } = await drover(['exec', 'web-x7k2p', '--', '/bin/cat'], 'typed');
    expect(stdout).toBe('got typed');
  });

  it.each(rows.filter(([, code]) => code > 0 && code !== 3 && code !== 137))(
    '%s is an object on standard error with -o json',
    async (_name, code, args, input) => {
      const { stdout, stderr } = await drover([...args, '-o', 'json'], input);
      expect(stdout).toBe('');
      const last = stderr.trim().split('\n').at(-1) ?? '';
      expect(JSON.parse(last)).toMatchObject({
        error: { exitCode: code, message: expect.stringMatching(/./) },
      });
    },
  );

  it('ends with 9, the address and the next step where nobody answers', async () => {
    const nobody = { ...(JSON.parse(server.admin) as object), address: '127.0.0.1:1' };
    writeFileSync(path.join(folder, 'nobody.yaml'), JSON.stringify(nobody));
    await drover(['context', 'import', 'nobody.yaml', '--name', 'nobody']);
    const { code, stderr } = await drover(['get', 'nodes', '--context', 'nobody']);
    expect(code).toBe(9);
    expect(stderr).toMatch(/127\.0\.0\.1:1 \(context nobody\)/);
  });

  it('believes nobody whom another authority signed', async () => {
    await using other = await startFleetServer(systemClock.nowMs());
    const { address } = JSON.parse(other.admin) as { address: string };
    writeFileSync(
      path.join(folder, 'other.yaml'),
      JSON.stringify({ ...(JSON.parse(server.admin) as object), address }),
    );
    await drover(['context', 'import', 'other.yaml', '--name', 'other']);
    expect((await drover(['get', 'nodes', '--context', 'other'])).code).toBe(9);
  });
});

describe('contexts and completion', () => {
  it('keeps keys for the owner alone', () => {
    const file = path.join(folder, 'config/drover/contexts/lab.yaml');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).toContain('PRIVATE KEY');
  });

  it('completes commands, and names from the last list without asking anybody', async () => {
    await drover(['get', 'nodes']);
    const [words, names] = await Promise.all([
      drover(['complete', '--', 'un']),
      drover(['complete', '--', 'node', 'cordon', '']),
    ]);
    expect(words.code).toBe(0);
    expect(names.stdout).toMatch(/^h1\t/m);
  });
});
