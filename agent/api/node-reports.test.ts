import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { silentLog } from '#shared/log.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { until } from '../../test/until.ts';
import { createNodeReports } from './node-reports.ts';

it('goes on with what was last seen while the host cannot be measured', async () => {
  const stateDir = await mkdtemp(path.join(os.tmpdir(), 'drover-reports-'));
  const clock = createFakeClock();
  const named = { name: 'h1', labels: {}, agentVersion: '1', idmappedMounts: 'yes', allowedDevices: [] };
  const node = { ...named, allowsPrivileged: false, stateDir };
  let asked = 0;
  const fingerprint = async () => {
    asked += 1;
    if (asked === 2) throw new Error('EIO');
    return { runtimes: [], pools: [], network: { turn: `${asked}` } };
  };
  const reports = await createNodeReports({
    node,
    fingerprint,
    countInstances: () => 0,
    clock,
    log: silentLog,
  });
  try {
    for (const turn of ['1', '1', '3']) {
      await until(() => reports.facts().extra['turn'] === turn, { what: `turn ${turn}` });
      const before = asked;
      await clock.advance(10_000);
      await until(() => asked > before, { what: 'another look' });
    }
    expect(asked).toBe(4);
  } finally {
    reports.close();
    await rm(stateDir, { recursive: true });
  }
});
