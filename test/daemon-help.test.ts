/** What is asked of the daemons before they run, through the program as people start it. */
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const drover = (...argv: string[]) => {
  const { status, stdout, stderr } = spawnSync(path.join(root, 'drover'), argv, { encoding: 'utf8' });
  return { exitCode: status, stdout, stderr };
};

describe.each([
  ['agent', ['agent']],
  ['node join', ['node', 'join']],
  ['control-plane', ['control-plane']],
])('drover %s', (name, words) => {
  it('tells its flags, and nothing is started', () => {
    const { exitCode, stdout, stderr } = drover(...words, '--help');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain(`Usage: drover ${name} `);
  });

  it('refuses a flag that there is not, and says where they are told', () => {
    const { exitCode, stderr } = drover(...words, '--no-such-flag');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/--no-such-flag.*\nnext: .*--help/);
  });
});

it('the flags of the agent are those that its document names', async () => {
  const { stdout } = drover('agent', '--help');
  const told = stdout.match(/^ {2}--[a-z-]+/gm)?.map((flag) => flag.trim());
  const document = await readFile(path.join(root, 'docs/operate.md'), 'utf8');
  for (const flag of told ?? []) if (flag !== '--help') expect(document).toContain(`\`${flag}\``);
  expect(told).toHaveLength(6);
});
