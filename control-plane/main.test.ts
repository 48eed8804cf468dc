import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { systemClock } from '#shared/clock.ts';
import { FleetServiceService } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { silentLog } from '#shared/log.ts';
import { systemRandom } from '#shared/random.ts';
import { createClient } from '#shared/rpc-client.ts';
import { parseConfig } from './config.ts';
import { type ControlPlane, startControlPlane } from './main.ts';

const world = { clock: systemClock, random: systemRandom, log: silentLog };

async function withStateDir(body: (stateDir: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-main-'));
  try {
    await body(path.join(folder, 'state'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const start = (stateDir: string, ...flags: readonly string[]): Promise<ControlPlane> => {
  const config = parseConfig([
    '--state-dir',
    stateDir,
    '--listen',
    '127.0.0.1:0',
    '--advertise',
    'localhost',
    ...flags,
  ]);
  if (config === 'help') throw new Error('no help was asked for');
  return startControlPlane(config, world);
};

async function fleetOf(stateDir: string, { address }: ControlPlane) {
  const context = parse(await readFile(path.join(stateDir, 'admin.yaml'), 'utf8')) as Record<string, string>;
  const pem = (name: string): Buffer => Buffer.from(context[name] ?? '');
  const secure = credentials.createSsl(pem('ca'), pem('key'), pem('certificate'));
  const client = createClient(FleetServiceService, address.replace('127.0.0.1', 'localhost'), secure);
  try {
    const { fleetId, fleetEpoch, caller } = await client.getFleet({}, { deadlineMs: 5000 });
    expect(caller).toBe('admin/root');
    return { fleetId, fleetEpoch };
  } finally {
    client.close();
  }
}

describe('a control plane', () => {
  it(
    'makes an administrator once, keeps its fleet over a restart, and refuses a second on its state',
    () =>
      withStateDir(async (stateDir) => {
        const first = await start(stateDir);
        const { fleetId, fleetEpoch } = await fleetOf(stateDir, first);
        expect(fleetEpoch).toBe(1n);
        await expect(start(stateDir)).rejects.toThrow(/in use by another control plane/);
        expect((await stat(path.join(stateDir, 'admin.yaml'))).mode & 0o777).toBe(0o600);
        expect((await stat(path.join(stateDir, 'ca', 'ca-key.pem'))).mode & 0o777).toBe(0o600);
        expect((await stat(stateDir)).mode & 0o777).toBe(0o700);
        await first.close();
        const again = await start(stateDir);
        expect(await fleetOf(stateDir, again)).toEqual({ fleetId, fleetEpoch });
        await again.close();
        const restored = await start(stateDir, '--fleet-epoch', '3');
        expect(await fleetOf(stateDir, restored)).toEqual({ fleetId, fleetEpoch: 3n });
        await restored.close();
      }),
    20_000,
  );
});

describe('its flags', () => {
  it.each([
    [['--listen', '127.0.0.1'], /--listen needs HOST:PORT/],
    [['--listen', 'a b:1'], /--listen needs HOST:PORT/],
    [['--listen', '127.0.0.1:70000'], /--listen needs HOST:PORT/],
    [['--state-dir', 'relative'], /--state-dir needs an absolute path/],
    [['--log-level', 'loud'], /--log-level needs debug, info/],
    [['--fleet-epoch', '0'], /--fleet-epoch needs a whole number above zero/],
    [['--fleet-epoch', 'two'], /--fleet-epoch needs a whole number above zero/],
    [['--nothing'], /Unknown option/],
  ])('%j is refused', (argv, message) => {
    expect(() => parseConfig(argv)).toThrow(message);
  });

  it('may name an IPv6 address, and where others find us', () => {
    const argv = ['--listen', '[::1]:7440', '--advertise', 'cp.example:443', '--advertise', 'cp'];
    expect(parseConfig(argv)).toMatchObject({
      host: '::1',
      port: 7440,
      advertise: [
        { host: 'cp.example', port: 443 },
        { host: 'cp', port: undefined },
      ],
    });
    expect(parseConfig(['--help'])).toBe('help');
  });
});
