/** What holds for every command: streams, colours, silence and words that were typed wrongly. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { type FakeFleetServer, startFleetServer } from '../../test/fakes/fleet-server.ts';
import { commands } from './commands/index.ts';

const root = path.resolve(import.meta.dirname, '../..');
let server: FakeFleetServer;
let folder: string;

interface Told {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function drover(
  words: string | readonly string[],
  { input = '', env = {} }: { input?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<Told> {
  const home = {
    XDG_CONFIG_HOME: path.join(folder, 'config'),
    XDG_CACHE_HOME: path.join(folder, 'cache'),
  };
  const { NO_COLOR: _no, FORCE_COLOR: _force, ...outside } = process.env;
  const args = typeof words === 'string' ? words.split(' ').filter(Boolean) : words;
  const child = spawn(path.join(root, 'drover'), args, { env: { ...outside, ...home, ...env }, cwd: folder });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const code = await new Promise<number>((resolve) => child.on('close', (ended) => resolve(ended ?? -1)));
  return { code, stdout, stderr };
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'drover-cli-'));
  server = await startFleetServer(systemClock.nowMs());
  writeFileSync(path.join(folder, 'admin.yaml'), server.admin);
  const { code, stderr } = await drover('context import admin.yaml');
  if (code !== 0) throw new Error(stderr);
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

describe('help', () => {
  // Joining is the agent's own program.
  const ours = commands.filter(({ name }) => name !== 'node join');

  it.each(ours.map(({ name, examples }) => [name, examples[0] ?? '']))(
    '%s --help goes to standard output with an example',
    async (name, example) => {
      const { code, stdout, stderr } = await drover(`${name} --help`);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toContain(`drover ${example}`);
    },
  );

  it.each(['', 'node', 'context', 'help'])('"drover %s" alone shows what there is', async (words) => {
    const { code, stdout, stderr } = await drover(words);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/Commands:\n/);
  });
});

describe('what was typed wrongly', () => {
  it.each([
    ['gett nodes', /Did you mean get\?/],
    ['node cordno h1', /Did you mean cordon\?/],
    ['get nodes --wrokload web', /Did you mean --workload\?/],
    ['get nods', /did you mean "nodes"\?/],
    ['get', /missing required argument 'kind'/],
    ['get nodes -o jsn', /Allowed choices are table, wide, json, yaml, name/],
    ['get nodes --timeout soon', /"soon" is not a duration/],
    ['scale web many', /"many" is not a number of copies/],
    ['logs web --tail all', /"all" is not a number of lines/],
    ['logs web --stream both', /wanted stdout or stderr/],
    ['events --since yesterday', /"yesterday" is not a revision/],
    ['apply -f - --plan-revision latest', /"latest" is not a revision/],
    ['apply', /which file\?/],
    ['explain web --portability', /--portability and --to RUNTIME go together/],
    ['explain web --to lxc', /--portability and --to RUNTIME go together/],
    ['exec -t web-x7k2p sh', /-t wants a terminal/],
    ['exec -e NAME web-x7k2p sh', /"NAME" is not NAME=VALUE/],
    ['completion csh', /wanted bash, zsh, fish/],
    ['delete web', /nobody can be asked here[^]*--yes/],
    ['node remove h1', /nobody can be asked here[^]*--yes/],
    ['context import nowhere.yaml', /cannot read nowhere\.yaml/],
  ])('"drover %s" ends with 2, and once more as JSON', async (words, said) => {
    const [plain, json] = await Promise.all([drover(words), drover(['-o', 'json', ...words.split(' ')])]);
    expect({ code: plain.code, stdout: plain.stdout }).toEqual({ code: 2, stdout: '' });
    expect(plain.stderr).toMatch(said);
    expect(json.stdout).toBe('');
    if (words.includes('-o')) return;
    expect(json.code).toBe(2);
    const { error } = JSON.parse(json.stderr) as { error: { message: string; nextStep: string } };
    expect(`${error.message} ${error.nextStep}`).toMatch(said);
  });

  it('takes what stands behind -- for the guest', async () => {
    const { stderr } = await drover('exec --oops web-x7k2p -- tool -o json');
    expect(stderr).toMatch(/^error: /);
  });
});

describe('streams', () => {
  const apply = ['apply', '-f', '-'];
  const spec = (name: string): string => `kind: Workload\nname: ${name}\nimage: reg.example/web\n`;

  it('tells progress on standard error, and nothing of it with -q', async () => {
    const [loud, silent] = await Promise.all([
      drover([...apply, '--wait'], { input: spec('web') }),
      drover([...apply, '--wait', '-q'], { input: spec('web') }),
    ]);
    expect(loud).toMatchObject({ code: 0, stdout: 'op-web\n' });
    expect(loud.stderr).toContain('workload web: created');
    expect(silent).toEqual({ code: 0, stdout: 'op-web\n', stderr: '' });
  });

  it('never silences an error', async () => {
    expect((await drover('-q describe workload nope')).stderr).toMatch(/^error: no workload "nope"/);
  });

  it('leaves nothing but the error on standard error with -o json', async () => {
    const { code, stderr } = await drover([...apply, '--wait', '-o', 'json'], { input: spec('stuck') });
    expect(code).toBe(7);
    expect(JSON.parse(stderr)).toMatchObject({ error: { reason: 'unplaceable', exitCode: 7 } });
  });

  it('ends without a word when nobody reads on', async () => {
    const env = { ...process.env, XDG_CONFIG_HOME: path.join(folder, 'config') };
    const child = spawn(path.join(root, 'drover'), ['get', 'nodes'], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdout.destroy();
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 141, stderr: '' });
  });

  it('applies several documents from a pipe', async () => {
    const { code, stdout } = await drover(apply, { input: `${spec('web')}---\n${spec('db')}` });
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'op-web\nop-db\n' });
  });

  it('shows no control characters of others, in any form', async () => {
    const forms = ['table', 'wide', 'json', 'yaml', 'name'];
    const told = await Promise.all(forms.map((form) => drover(`get instances -o ${form}`)));
    told.push(await drover('describe instance web-x7k2p'), await drover('explain web-x7k2p'));
    told.push(await drover('explain web --portability --to proxmox-lxc'));
    // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
    for (const { stdout } of told) expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });

  it.each<[string, Readonly<Record<string, string>>, string, boolean]>([
    ['a pipe', {}, '', false],
    ['FORCE_COLOR', { FORCE_COLOR: '1' }, '', true],
    ['NO_COLOR', { NO_COLOR: '1', FORCE_COLOR: '1' }, '', false],
    ['--color always', { NO_COLOR: '1' }, '--color always', true],
    ['--color never', { FORCE_COLOR: '1' }, '--color never', false],
  ])('has colours as %s says', async (_what, env, flags, colours) => {
    const { stderr } = await drover(`describe workload nope ${flags}`, { env });
    expect(stderr.includes('\u001b[')).toBe(colours);
  });
});

describe('contexts', () => {
  it('are imported, listed, used, shown without the key and removed', async () => {
    expect((await drover('context import admin.yaml --name two')).code).toBe(0);
    const list = JSON.parse((await drover('context list -o json')).stdout) as unknown;
    expect(list).toEqual([
      { name: 'lab', current: true },
      { name: 'two', current: false },
    ]);
    expect((await drover('context use two')).code).toBe(0);
    const shown = await drover('context show -o yaml');
    expect(shown.stdout).toMatch(/^name: two\naddress: 127/);
    expect(shown.stdout).not.toContain('PRIVATE KEY');
    expect((await drover('context show', { env: { DROVER_CONTEXT: 'lab' } })).stdout).toContain('lab');
    expect((await drover('context remove two')).code).toBe(2);
    expect((await drover('context remove two --yes')).code).toBe(0);
    const gone = await drover('get nodes');
    expect(gone).toMatchObject({ code: 5, stdout: '' });
    expect(gone.stderr).toMatch(/no context is selected; you have lab[^]*drover context use lab/);
    expect((await drover('context use lab')).code).toBe(0);
    expect((await drover('context use lba')).stderr).toMatch(/no context "lba"; you have lab/);
  });

  it('keep keys where only their owner looks', () => {
    const contexts = path.join(folder, 'config/drover/contexts');
    expect(statSync(contexts).mode & 0o777).toBe(0o700);
    expect(statSync(path.join(contexts, 'lab.yaml')).mode & 0o777).toBe(0o600);
    expect(readFileSync(path.join(contexts, 'lab.yaml'), 'utf8')).toContain('PRIVATE KEY');
  });

  it.each([
    ['../evil', '{"address":"a","ca":"b","certificate":"c","key":"d","name":"../evil"}', /is not a name/],
    ['half', '{"address":"a"}', /ca, certificate, key missing/],
    ['nothing', '', /not a context/],
    ['not YAML', 'a: [', /./],
  ])('are refused where the file is %s', async (_what, text, said) => {
    writeFileSync(path.join(folder, 'bad.yaml'), text);
    const { code, stderr } = await drover('context import bad.yaml');
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(said) });
  });
});

describe('completion', () => {
  it.each(['bash', 'zsh', 'fish', 'powershell'])('has a script for %s', async (shell) => {
    const { code, stdout, stderr } = await drover(`completion ${shell}`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('drover');
    expect(stdout).toContain('complete');
  });

  it('answers kinds, flags and names', async () => {
    await drover('get nodes');
    const [kinds, flags, names] = await Promise.all(
      [
        ['get', 'n'],
        ['logs', '--f'],
        ['describe', 'node', 'h'],
      ].map((words) => drover(['complete', '--', ...words])),
    );
    expect(kinds?.stdout).toMatch(/^nodes\t/);
    expect(flags?.stdout).toMatch(/^--follow\t/);
    expect(names?.stdout).toMatch(/^h1\t/);
  });
});

describe('a terminal', () => {
  /** Types each text once what it waits for was shown. script(1) gives the program a terminal of its own. */
  async function type(words: string, talk: readonly (readonly [waitsFor: string, typed: string])[]) {
    const home = `XDG_CONFIG_HOME=${path.join(folder, 'config')} XDG_CACHE_HOME=${path.join(folder, 'cache')}`;
    const line = `exec env ${home} ${path.join(root, 'drover')} ${words}`;
    const child = spawn('script', ['-qefc', line, '/dev/null'], { cwd: folder });
    let shown = '';
    const left = [...talk];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
      const [next] = left;
      if (next === undefined || !shown.includes(next[0])) return;
      left.shift();
      child.stdin.write(next[1]);
    });
    const code = await new Promise<number>((resolve) => child.on('close', (ended) => resolve(ended ?? -1)));
    return { code, shown };
  }

  it('gives every key to a console, Ctrl-C too, until Ctrl-] leaves it', async () => {
    const { code, shown } = await type('console web-x7k2p', [
      ['login: ', 'a'],
      ['heard a', '\u0003'],
      ['heard \u0003', '\u001d'],
    ]);
    expect({ code, shown }).toEqual({ code: 0, shown: expect.stringContaining('heard \u0003') });
  });

  it('passes an exec its keys, and gives the exit code of what ran', async () => {
    const { code, shown } = await type('exec -it web-x7k2p -- /bin/cat', [['$ ', 'typed\u0004']]);
    expect({ code, shown }).toEqual({ code: 137, shown: expect.stringContaining('got typed') });
  });
});
