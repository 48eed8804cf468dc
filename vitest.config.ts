import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{shared,agent,control-plane,clients,scripts,test}/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    globalSetup: ['test/prepare-host.ts'],
    pool: 'forks',
    maxWorkers: 2,
  },
});
