import { describe, expect, it } from 'vitest';
import type { GuestStats } from '#shared/gen/drover/model/v1/model.ts';
import type { VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { formatExecInput, formatExecStart } from '#shared/wire/exec.ts';
import { formatOrder, parseInstanceState } from '#shared/wire/instance.ts';
import { type Api, ensureRunning, openApi } from '../../test/fakes/agent-api.ts';
import { fleetId } from '../../test/fakes/agent-world.ts';
import { mostStatsStreams } from './stats-handlers.ts';

async function open(): Promise<Api> {
  const api = await openApi();
  await api.session.hello(api.hello);
  return api;
}

const order = (api: Api, id: Parameters<Api['world']['order']>[0], generation = 0) =>
  formatOrder(api.world.order(id, generation));

describe('a living guest', () => {
  it('is paused and resumed', async () => {
    await using api = await open();
    const id = await ensureRunning(api);
    const paused = await api.session.pauseInstance({ order: order(api, id) });
    expect(parseInstanceState(paused.state).phase).toBe('paused');
    const resumed = await api.session.resumeInstance({ order: order(api, id) });
    expect(parseInstanceState(resumed.state).phase).toBe('running');
  });

  it('shows its terminal, and takes no command there', async () => {
    await using api = await open();
    const id = await ensureRunning(api);
    const size = { columns: 80, rows: 24 };
    const start = {
      instance: id,
      stdin: true,
      tty: true,
      env: {},
      user: '',
      size,
      workingDir: '',
      project: '',
    };
    const wrong = api.session.console();
    await wrong.send(formatExecStart({ ...start, command: ['sh'] }));
    await expect(Array.fromAsync(wrong.output)).rejects.toMatchObject({ kind: 'invalid-argument' });

    const console = api.session.console();
    await console.send(formatExecStart({ ...start, command: [] }));
    await console.send(formatExecInput({ kind: 'stdin', data: Buffer.from('x') }));
    const ended = Array.fromAsync(console.output);
    await api.session.stopInstance({ order: order(api, id, 1) });
    expect((await ended).at(-1)?.output?.$case).toBe('exit');
  });
});

describe('statistics', () => {
  const read = (api: Api, instanceId: string): Promise<GuestStats[]> =>
    Array.fromAsync(api.session.streamStats({ instanceId, intervalMs: 0 }));

  it('are of one guest, or of all that live', async () => {
    await using api = await open();
    const [one, other] = [await ensureRunning(api), await ensureRunning(api)];
    expect(await read(api, one)).toMatchObject([{ instanceId: one, displayName: 'app-aaaaa' }]);
    expect(new Set((await read(api, '')).map((stats) => stats.instanceId))).toEqual(new Set([one, other]));
    await api.session.stopInstance({ order: order(api, other, 1) });
    expect((await read(api, '')).map((stats) => stats.instanceId)).toEqual([one]);
    await expect(read(api, other)).rejects.toMatchObject({ kind: 'failed-precondition' });
    await expect(read(api, api.world.newId())).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('come again until the caller leaves, or the guest is gone', async () => {
    await using api = await open();
    const id = await ensureRunning(api);
    const seen: string[] = [];
    for await (const { instanceId } of api.session.streamStats({ instanceId: id, intervalMs: 1000 })) {
      seen.push(instanceId);
      if (seen.length === 2) await api.session.removeInstance({ order: order(api, id, 1), graceMs: 0 });
    }
    expect(seen).toEqual([id, id]);
  });

  it.each([1, 999, 60_001])('are not read every %i ms', async (intervalMs) => {
    await using api = await open();
    const stream = Array.fromAsync(api.session.streamStats({ instanceId: '', intervalMs }));
    await expect(stream).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it('have so many readers and no more, and room again once they left', async () => {
    await using api = await open();
    await ensureRunning(api);
    const readers = Array.from({ length: mostStatsStreams }, () =>
      api.session.streamStats({ instanceId: '', intervalMs: 1000 })[Symbol.asyncIterator](),
    );
    await Promise.all(readers.map((reader) => reader.next()));
    await expect(read(api, '')).rejects.toMatchObject({ kind: 'resource-exhausted' });
    for (const reader of readers) await reader.return?.();
    await expect.poll(() => read(api, '').catch(() => [])).toHaveLength(1);
  });
});

describe('what outlives an instance', () => {
  it('is listed and removed', async () => {
    await using api = await open();
    const volumeId = systemRandom.uuidV7() as VolumeId;
    const claim = { name: 'data', mountPath: '/data', sizeMib: 0, pool: '', readOnly: false, keep: false };
    const id = await ensureRunning(api, {
      volumes: [claim],
      assigned: { attachments: [], ports: [], volumes: [{ name: 'data', volumeId }] },
    });
    expect(await Array.fromAsync(api.session.listVolumes({}))).toMatchObject([
      { id: volumeId, pool: 'local', instanceId: id },
    ]);
    const [image] = await Array.fromAsync(api.session.listImages({}));
    expect(image).toMatchObject({ usedBy: 1, pinned: false });
    const removal = { fleetId, fleetEpoch: 1n, volumeId };
    const { digest = '' } = image ?? {};
    const early = [api.session.removeVolume(removal), api.session.removeImage({ digest })];
    for (const call of early) await expect(call).rejects.toMatchObject({ kind: 'failed-precondition' });
    await api.session.removeInstance({ order: order(api, id, 1), graceMs: 0 });
    await api.session.removeVolume(removal);
    await api.session.removeImage({ digest });
    expect(await Array.fromAsync(api.session.listVolumes({}))).toEqual([]);
    expect((await Array.fromAsync(api.session.listImages({}))).map(({ usedBy }) => usedBy)).not.toContain(1);
  });

  it.each([
    ['no id of a volume', { volumeId: '../../etc' }],
    ['no fleet', { fleetId: '' }],
  ])('is not removed by %s', async (_name, part) => {
    await using api = await open();
    const removal = { fleetId, fleetEpoch: 1n, volumeId: systemRandom.uuidV7(), ...part };
    await expect(api.session.removeVolume(removal)).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it('may be read through the local socket, and nothing more', async () => {
    await using api = await open();
    const id = await ensureRunning(api);
    const stats = await Array.fromAsync(api.local.streamStats({ instanceId: '', intervalMs: 0 }));
    expect(stats).toMatchObject([{ instanceId: id }]);
    expect(await Array.fromAsync(api.local.listVolumes({}))).toEqual([]);
    const refused = [
      api.local.pauseInstance({ order: order(api, id) }),
      api.local.removeVolume({ fleetId, fleetEpoch: 1n, volumeId: systemRandom.uuidV7() }),
      api.local.removeImage({ digest: `sha256:${'0'.repeat(64)}` }),
    ];
    for (const call of refused) await expect(call).rejects.toMatchObject({ kind: 'permission-denied' });
  });
});
