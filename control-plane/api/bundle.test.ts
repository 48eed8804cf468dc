import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import type { healthService } from './health.ts';
import type { reflectionService } from './reflection.ts';

interface Bundled {
  readonly healthService: typeof healthService;
  readonly reflectionService: typeof reflectionService;
}

describe('a program bundled into one file', () => {
  it('serves health and reflection without anything beside it', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-bundle-'));
    try {
      const outfile = path.join(folder, 'program.cjs');
      const contents = `export * from './health.ts'; export * from './reflection.ts'; export * from './grpc.ts';`;
      await build({
        stdin: { contents, resolveDir: import.meta.dirname, loader: 'ts' },
        bundle: true,
        platform: 'node',
        format: 'cjs',
        outfile,
        logLevel: 'error',
      });
      const program = (await import(/* @vite-ignore */ outfile)) as { default: Bundled };
      const services = new Set(['drover.fleet.v1.FleetService']);
      const context = {} as never;
      const health = await program.default.healthService(services).check({ service: '' }, context);
      expect(health.status).toBe(1);
      const ask = async function* () {
        const symbol = 'drover.fleet.v1.FleetService';
        yield { host: '', messageRequest: { $case: 'fileContainingSymbol', value: symbol } as const };
      };
      const answers = program.default.reflectionService(services).serverReflectionInfo(ask(), context);
      for await (const { messageResponse } of answers) {
        expect(messageResponse?.$case).toBe('fileDescriptorResponse');
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
