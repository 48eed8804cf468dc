import { expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { createNetworkFacts } from './network-facts.ts';

const { signal } = new AbortController();
const missing = async (tool: string): Promise<never> => {
  throw new DroverError('unavailable', `${tool} is not installed`);
};

it('tries the bridges of a kernel once, however long a tool is missing', async () => {
  const lines: string[] = [];
  const ip = async (some: readonly string[]): Promise<undefined> => void lines.push(...some);
  const read = createNetworkFacts({ run: missing, ip, pluginDir: '/nowhere', probe: 'drvp-none' });
  for (const _ of [1, 2, 3]) expect((await read(signal))['masquerade']).toBe('nft is not installed');
  expect(lines).toEqual(['link add name drvp-none type bridge', 'link delete dev drvp-none']);
});

it('tries them again where none could be made', async () => {
  let tries = 0;
  const ip = async (): Promise<string> => `failed ${(tries += 1)} times`;
  const read = createNetworkFacts({ run: missing, ip, pluginDir: '/nowhere', probe: 'drvp-none' });
  for (const _ of [1, 2]) await read(signal);
  expect(tries).toBe(2);
});
