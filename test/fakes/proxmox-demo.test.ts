/** `npm run proxmox:demo` prints what `drover cluster add` needs, answers by it, and leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { until } from '../until.ts';
import { sendRaw } from './proxmox/raw-request.ts';

const script = path.resolve(import.meta.dirname, '../../scripts/proxmox-demo.ts');

it('starts a cluster to try things with', async () => {
  const demo = spawn(process.execPath, [script, '--version', '8.4.21'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(demo, 'exit');
  let said = '';
  demo.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const word = (pattern: RegExp): string => pattern.exec(said)?.[1] ?? '';
  try {
    await until(() => said.includes('Ctrl-C ends it'), {
      what: 'the demonstration cluster',
      deadlineMs: 30_000,
    });
    const [authorityFile, secretFile] = [word(/authority {4}(\S+)/), word(/secret {7}(\S+)/)];
    const answer = await sendRaw({
      address: word(/--endpoint (\S+)/),
      authorityPem: readFileSync(authorityFile, 'utf8'),
      method: 'GET',
      path: '/api2/json/cluster/resources?type=vm',
      headers: {
        authorization: `PVEAPIToken=${word(/--token-id '(.*)'/)}=${readFileSync(secretFile, 'utf8').trim()}`,
      },
    });
    const document = readFileSync(path.resolve(import.meta.dirname, '../../docs/proxmox.md'), 'utf8');
    expect(document).toContain(word(/(https:\S+@sha256:\S+)/));
    const { data } = JSON.parse(answer.text) as { data: { name: string }[] };
    expect(data.map(({ name }) => name)).toEqual(['intranet', 'old-wiki', 'erp', 'debian-13']);
    demo.kill('SIGINT');
    expect(await ended).toEqual([0, null]);
    expect(existsSync(path.dirname(secretFile))).toBe(false);
  } finally {
    demo.kill('SIGKILL');
  }
});
