import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTemplateFiles } from './template-file.ts';

let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'drover-template-file-'));
  await mkdir(at('allowed/inner'), { recursive: true });
  await writeFile(at('allowed/inner/root.tar.xz'), 'a root');
  await writeFile(at('secret'), 'not for others');
  await symlink(at('secret'), at('allowed/link'));
  await symlink(at('allowed'), at('way-in'));
});

afterAll(() => rm(folder, { recursive: true }));

describe('files for templates', () => {
  it.each([
    ['below a directory', () => at('allowed/inner/root.tar.xz')],
    ['by a link that leads there', () => at('way-in/inner/root.tar.xz')],
  ])('are read %s', async (_, file) => {
    const digest = await createTemplateFiles([at('allowed')]).digest(file());
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it.each([
    ['elsewhere', () => at('secret'), 'permission-denied'],
    ['behind a link that leads out', () => at('allowed/link'), 'permission-denied'],
    ['above, as it is written', () => at('allowed/../secret'), 'permission-denied'],
    ['elsewhere, where nothing is', () => '/nowhere/root.tar', 'permission-denied'],
    ['below, where nothing is', () => at('allowed/none.tar'), 'not-found'],
    ['that are directories', () => at('allowed/inner'), 'invalid-argument'],
  ])('are not read %s', async (_, file, kind) => {
    await expect(createTemplateFiles([at('allowed')]).open(file())).rejects.toMatchObject({ kind });
  });

  it('are none where no directory is allowed', async () => {
    await expect(createTemplateFiles([]).digest(at('secret'))).rejects.toMatchObject({
      kind: 'permission-denied',
      nextStep: expect.stringContaining('--template-root') as string,
    });
  });
});
