/** Clusters on the command line, against a control plane that answers from literals. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { type FakeFleetServer, startFleetServer } from '../../test/fakes/fleet-server.ts';
import { parseSpec } from './spec/parse-spec.ts';

const root = path.resolve(import.meta.dirname, '../..');
const secret = '5ec2e700-0000-4000-8000-0000000000ff';
let server: FakeFleetServer;
let folder: string;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function drover(words: string, input = ''): Promise<Outcome> {
  const env = {
    ...process.env,
    XDG_CONFIG_HOME: path.join(folder, 'config'),
    XDG_CACHE_HOME: path.join(folder, 'cache'),
  };
  const child = spawn(path.join(root, 'drover'), words.split(' '), { env, cwd: folder, stdio: 'pipe' });
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
  writeFileSync(path.join(folder, 'secret'), `${secret}\n`);
  writeFileSync(path.join(folder, 'empty'), '\n');
  writeFileSync(path.join(folder, 'two-lines'), `${secret}\n${secret}\n`);
  writeFileSync(
    path.join(folder, 'ca.pem'),
    '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n',
  );
  await drover('context import admin.yaml');
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const add = 'cluster add lab --endpoint 10.0.0.11 --token-id drover@pve!fleet';

describe('adding a cluster', () => {
  it.each([
    ['a file', `${add} --token-file secret --ca ca.pem`, ''],
    ['standard input', `${add} --token-file - --fingerprint ab:cd`, `${secret}\n`],
    ['standard input where nobody sits there', `${add} --fingerprint ab:cd`, secret],
    [
      'a file, as a password',
      'cluster add lab --endpoint a --user ann@pve --password-file secret --ca ca.pem',
      '',
    ],
  ])('takes its secret from %s, and shows it nowhere', async (_title, words, input) => {
    const before = server.clusterCalls.added.length;
    const [plain, json] = [await drover(words, input), await drover(`${words} -o json`, input)];
    expect([plain.code, json.code]).toEqual([0, 0]);
    expect(server.clusterCalls.added.slice(before).map((call) => call.secret)).toEqual([secret, secret]);
    expect(plain.stdout + plain.stderr + json.stdout + json.stderr).not.toContain(secret);
    expect(plain.stdout).toMatch(/Version: +9\.2\.11/);
    expect(plain.stdout).toMatch(/10\.0\.0\.12:8006 +does not answer/);
  });

  it.each([
    [
      'nothing to know it by',
      `${add} --token-file secret`,
      '',
      /nobody looks at its certificate[^]*--fingerprint/,
    ],
    ['a yes instead of it', `${add} --token-file secret --yes`, '', /nobody looks at its certificate/],
    ['two ways to know it', `${add} --ca ca.pem --fingerprint ab`, '', /--ca or --fingerprint, not both/],
    ['no address', 'cluster add lab --token-id a@pve!b --ca ca.pem', secret, /where is it\?/],
    ['nobody', 'cluster add lab --endpoint a --ca ca.pem', '', /as whom\?/],
    ['two identities', `${add} --user ann@pve --ca ca.pem`, '', /--token-id or --user, not both/],
    [
      'a secret on the command line',
      `${add}=${secret} --ca ca.pem`,
      '',
      /the id of a token ends before the "="/,
    ],
    ['an empty secret', `${add} --token-file empty --ca ca.pem`, '', /the secret of the token is empty/],
    ['a secret of two lines', `${add} --token-file two-lines --ca ca.pem`, '', /is not one line/],
    ['no secret at all', `${add} --ca ca.pem`, '', /the secret of the token is empty/],
    [
      'something for another',
      'cluster update lab --new-certificate --yes',
      '',
      /nobody looks at its certificate/,
    ],
  ])('ends with 2 for %s', async (_title, words, input, said) => {
    const { code, stderr, stdout } = await drover(words, input);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(said);
    expect(stderr).not.toContain(secret);
  });

  it.each([
    ['a file that is not there', 5, `${add} --token-file nowhere --ca ca.pem`, /cannot read nowhere/],
    ['an authority that is not there', 5, `${add} --token-file secret --ca nowhere`, /cannot read nowhere/],
    [
      'rights that are missing',
      1,
      'cluster add poor --endpoint a --token-id a@pve!b --token-file secret --ca ca.pem',
      /lacks rights in poor\n +VM\.Allocate on \/vms\n +next: .*--accept-missing-rights/,
    ],
    ['a cluster that is not there', 5, 'cluster describe lost', /no cluster/],
    ['a cluster that is in use', 1, 'cluster remove full --yes', /web-x7k2p/],
    ['a removal that nobody confirmed', 2, 'cluster remove lab', /--yes/],
    ['a test of what does not answer', 1, 'cluster test cut', /^$/],
  ])('%s ends with %i', async (_title, code, words, said) => {
    const outcome = await drover(words);
    expect(outcome).toMatchObject({ code });
    expect(outcome.stderr).toMatch(said);
  });

  it('keeps the whole way to a removal that releases', async () => {
    const { code, stdout, stderr } = await drover('cluster remove full --release-guests --yes');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'web-x7k2p is released\n' });
    expect(stderr).toContain('and its nodes lab-pve1');
  });
});

describe('adopting', () => {
  it('writes a file that apply reads, with notes that cannot leave their comment', async () => {
    const { code, stdout } = await drover('adopt lab/105 --dry-run');
    expect(code).toBe(0);
    expect(stdout).toContain('# lab/105 old\\x1b[31mweb\n# it has 512 MiB of swap\n');
    const [one] = parseSpec(stdout, 'stdout');
    expect(one?.document).toMatchObject({
      metadata: { name: 'old-web' },
      spec: { image: 'proxmox:guest/105', resources: { memoryMib: 512 } },
    });
  });

  it('reports on a whole cluster, and its exit code tells that something failed', async () => {
    const { code, stdout, stderr } = await drover('adopt lab --all');
    expect(code).toBe(10);
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/)[0])).toEqual([
      'GUEST',
      'lab/105',
      'lab/106',
      'lab/107',
      '',
    ]);
    expect(stderr).toMatch(/lab\/105: adopted as old-web/);
    expect(stderr).toMatch(/lab\/106: left as it is: it is a template/);
    const dry = await drover('adopt lab --all --dry-run');
    expect(parseSpec(dry.stdout.split('---\n')[0] ?? '', 'x')).toHaveLength(1);
    expect(dry.stdout).toContain('# not to be adopted: nobody answers');
  });

  it.each([
    ['adopt 105', 2, /"105" is no guest; wanted CLUSTER\/VMID/],
    ['adopt lab', 2, /wanted CLUSTER\/VMID/],
    ['adopt lab/105 --all', 2, /wanted CLUSTER, since/],
    ['adopt lab/7', 2, /is no guest/],
    ['adopt lab/105/6', 2, /is no guest/],
    ['adopt lab/404', 5, /there is no guest 404/],
  ])('"drover %s" ends with %i', async (words, code, said) => {
    const outcome = await drover(words);
    expect(outcome).toMatchObject({ code, stdout: '' });
    expect(outcome.stderr).toMatch(said);
  });

  it.each([
    ['release shop', 0, /shop-x7k2p: released; lab\/105 runs on/],
    ['release half', 10, /half-2: failed: nobody answers/],
  ])('"drover %s" ends with %i', async (words, code, said) => {
    const outcome = await drover(words);
    expect(outcome).toMatchObject({ code });
    expect(outcome.stderr).toMatch(said);
  });
});

describe('draining and asking', () => {
  it.each([
    ['h1', 0, /web-x7k2p: moving to lab-pve2, live: 1 of 1 nodes fit/],
    ['h1', 0, /web-x7k2p: moved to lab-pve2: from h1, live[^]*it stays cordoned/],
    ['half', 10, /db-12345: stays: its disk is local/],
    ['stuck', 1, /db-12345: stays/],
    ['h9', 5, /no node h9/],
  ])('drain %s ends with %i, instance by instance', async (node, code, said) => {
    const outcome = await drover(`drain ${node}`);
    expect(outcome).toMatchObject({ code });
    expect(outcome.stderr).toMatch(said);
  });

  it('says beforehand what would move and how', async () => {
    const { code, stdout, stderr } = await drover('drain half --dry-run');
    expect({ code, stderr }).toEqual({ code: 10, stderr: '' });
    expect(stdout).toMatch(/web-x7k2p +would move +lab-pve2 +live +1 of 1 nodes fit/);
    expect(stdout).toMatch(/db-12345 +stays +- +- +its disk is local/);
  });

  it('tells where a console is, without a terminal', async () => {
    const { code, stdout } = await drover('console web-x7k2p --url');
    expect(code).toBe(0);
    expect(stdout).toMatch(/URL: +https:\/\/10\.0\.0\.11:8006\/\?console=lxc\nKind: +terminal\n/);
  });

  it.each([
    [
      'explain --portability web --to proxmox-lxc',
      0,
      /^web from lxc to proxmox-lxc: 1 in the way, 0 changed, 1 as before\n/,
    ],
    ['explain --portability web', 2, /^$/],
    ['explain web-x7k2p --to lxc', 2, /^$/],
    ['explain --portability web --to docker', 2, /^$/],
  ])('"drover %s" ends with %i', async (words, code, said) => {
    const outcome = await drover(words);
    expect(outcome).toMatchObject({ code });
    expect(outcome.stdout).toMatch(said);
  });

  it('tells what a node of a cluster has, what is reserved of it, and what others take', async () => {
    const { stdout } = await drover('describe node lab-pve1');
    expect(stdout).toMatch(/Reserved: +cpu 0, memory 1GiB, disk 0MiB\n/);
    expect(stdout).toMatch(/Processors: +4, 1200m in use\n/);
    expect(stdout).toMatch(
      /Memory: +8GiB, 5GiB available, 4GiB used or claimed by others, 3GiB free for instances\n/,
    );
    // Of what an agent tells there are no others.
    const { stdout: plain } = await drover('describe node h1');
    expect(plain).not.toMatch(/others|unlimited/);
  });

  it.each([
    ['template create golden --from lab/105', 0, /template lab\/golden: ready, VMID 9000/],
    ['template create golden', 2, /wanted --from SOURCE/],
    ['template create taken --from lab/105', 6, /there is a template taken in lab already/],
    ['template remove lab/golden --yes', 0, /template lab\/golden: removed/],
    ['template remove golden --yes', 2, /wanted CLUSTER\/NAME or CLUSTER\/VMID, found "golden"/],
    ['template remove lab/golden', 2, /needs a yes/],
    ['template remove lab/theirs --yes', 1, /Drover did not make lab\/theirs/],
  ])('"drover %s" ends with %i', async (words, code, said) => {
    const outcome = await drover(words);
    expect(outcome).toMatchObject({ code });
    expect(outcome.stderr).toMatch(said);
  });

  it('lists templates, each with the image that means it and no other', async () => {
    const { stdout } = await drover('template list --cluster images');
    const images = stdout.matchAll(/^\S+ +(\d+) .* (proxmox:\S+)$/gm);
    expect([...images].map(([, vmid, image]) => [vmid, image])).toEqual([
      ['9000', 'proxmox:template/debian'],
      ['9001', 'proxmox:template/9001'],
      ['9002', 'proxmox:template/9002'],
      ['9003', 'proxmox:template/twice'],
      ['9004', 'proxmox:template/9004'],
    ]);
    expect(stdout).toMatch(/half .* drover +failed: no space left/);
    const { stdout: json } = await drover('template list --cluster images -o json');
    expect((JSON.parse(json) as { readonly image: string }[])[0]?.image).toBe('proxmox:template/debian');
    expect((await drover('template list')).stdout).toBe('no templates in any cluster\n');
  });

  it('tells of the rules that hold an instance where it is', async () => {
    expect((await drover('describe instance web-x7k2p')).stdout).toMatch(
      /Rules: +HA keeps it to h1 \(rule "near"\)\n +HA moves db along \(rule "pair"\)\n/,
    );
  });

  it('shows the column of clusters only where there is one', async () => {
    expect((await drover('get nodes')).stdout).not.toContain('CLUSTER');
    expect(readFileSync(path.join(root, 'test/golden/cli/drover-cluster-add.txt'), 'utf8')).not.toMatch(
      /--token <|--password </,
    );
  });
});
