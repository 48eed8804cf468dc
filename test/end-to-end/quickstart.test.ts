/** The README's first command, as a person at a terminal ends it. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect, it } from 'vitest';
import { until } from '../until.ts';

const root = path.resolve(import.meta.dirname, '../..');
/** Other tests have hosts of their own at the same time. */
const hostsOf = (fleet: string): string[] =>
  execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(fleet));

it('ends cleanly at Ctrl-C, which a terminal sends to the whole process group', async () => {
  const program = [
    path.join(root, 'node_modules/.bin/node'),
    path.join(root, 'scripts/quickstart.ts'),
  ] as const;
  const child = spawn(program[0], [program[1]], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (said += text));
  const ended = once(child, 'exit');
  await until(() => said.includes('Ctrl-C here') || child.exitCode !== null, {
    what: 'it is up',
    deadlineMs: 90_000,
  });
  const fleet = /drover-fleet-(\w+)/.exec(said)?.[1] ?? 'no fleet';
  expect(hostsOf(fleet)).toHaveLength(2);
  process.kill(-(child.pid ?? 0), 'SIGINT');
  const [code] = (await ended) as [number | null];
  expect({ code, said: code === 0 ? '' : said }).toEqual({ code: 0, said: '' });
  expect(said).toContain('everything is taken down');
  expect(said).not.toContain('by force');
  expect(hostsOf(fleet)).toEqual([]);
}, 150_000);
