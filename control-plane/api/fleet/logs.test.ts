import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { StreamLogsRequest } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { InstanceId } from '#shared/model.ts';
import type { LogLine } from '#shared/streams.ts';
import { createServedFleet } from '../../../test/fakes/served-fleet.ts';
import { until } from '../../../test/until.ts';
import type { Backend } from '../../backends/backend.ts';
import { createMailbox } from '../mailbox.ts';

/** Logs that a test writes line by line, as the followers on the nodes see them. */
function createLogs() {
  const open = new Map<InstanceId, { write: (text: string) => void; fail: (error: Error) => void }>();
  let opened = 0;
  async function* logs(...[, id, , signal]: Parameters<Backend['logs']>): AsyncGenerator<LogLine> {
    const lines = createMailbox<LogLine>();
    const end = (): void => lines.end();
    signal.addEventListener('abort', end, { once: true });
    opened += 1;
    open.set(id, {
      write: (text) =>
        void lines.put({ atNs: 1n, stream: 'stdout', content: Buffer.from(text), partial: false }),
      fail: (error) => lines.end(error),
    });
    try {
      yield* lines.read();
    } finally {
      open.delete(id);
    }
  }
  return { logs, open, counts: () => [opened, open.size] };
}

async function follow(replicas: number) {
  const { logs, open, counts } = createLogs();
  await using opened = new AsyncDisposableStack();
  const world = opened.use(await createServedFleet({ logs }));
  await world.run('web', replicas);
  const leaving = new AbortController();
  const request = StreamLogsRequest.fromPartial({ target: 'web', options: { follow: true } });
  const seen: string[] = [];
  const ended = (async () => {
    for await (const { instance, content } of world.client.streamLogs(request, { signal: leaving.signal }))
      seen.push(`${instance} ${Buffer.from(content).toString()}`);
    return 'end';
  })().catch((error: unknown) => error);
  await until(() => open.size === replicas, { what: 'all are followed' });
  const idOf = (name: string) =>
    (world.control.instances('web').find(({ metadata }) => metadata.name === name)?.metadata.id ??
      '') as InstanceId;
  const parts = opened.move();
  return {
    world,
    seen,
    ended,
    counts,
    names: () => world.control.instances('web').map(({ metadata }) => metadata.name),
    of: (name: string) => open.get(idOf(name)),
    leave: (): void => leaving.abort(),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

describe('following a whole workload', () => {
  it('tells the lines of all its instances, each with its name, and of those that come later', async () => {
    await using log = await follow(2);
    const [first = '', second = ''] = log.names();
    log.of(first)?.write('one');
    await until(() => log.seen.length === 1, { what: 'the first line' });
    log.of(second)?.write('two');
    log.of(first)?.write('three');
    await until(() => log.seen.length === 3, { what: 'lines of both' });
    expect(log.seen.toSorted()).toEqual([`${first} one`, `${first} three`, `${second} two`].toSorted());
    await log.world.control.scale('web', 3);
    log.world.control.reconciler.wake();
    await until(() => log.counts()[1] === 3, { what: 'the third is followed' });
    const third = log.names().find((name) => name !== first && name !== second) ?? '';
    log.of(third)?.write('four');
    await until(() => log.seen.at(-1) === `${third} four`, { what: 'its line' });
    expect(log.counts()).toEqual([3, 3]);
  });

  it('stops following on every node once the reader has left, though nothing is written', async () => {
    await using log = await follow(2);
    log.leave();
    expect(await log.ended).toMatchObject({ kind: 'unavailable' });
    await until(() => log.counts()[1] === 0, { what: 'nobody follows' });
    expect(log.counts()).toEqual([2, 0]);
  });

  it('goes on without an instance that was removed, and ends with the workload', async () => {
    await using log = await follow(2);
    const [first = '', second = ''] = log.names();
    log.of(first)?.fail(new DroverError('not-found', 'no such instance'));
    log.of(second)?.write('still here');
    await until(() => log.seen.length === 1, { what: 'a line of the other' });
    log.of(second)?.fail(new DroverError('not-found', 'no such instance'));
    await log.world.control.remove('web');
    log.world.control.reconciler.wake();
    expect(await log.ended).toBe('end');
  });

  it('goes on with the others while a node is away, and follows its copy again', async () => {
    await using log = await follow(2);
    const [first = '', second = ''] = log.names();
    log.of(first)?.write('before');
    await until(() => log.seen.length === 1, { what: 'the line before' });
    log.of(first)?.fail(new DroverError('unavailable', 'node h1 does not answer'));
    log.of(second)?.write('still here');
    await until(() => log.seen.length === 2, { what: 'a line of the other' });
    await log.world.control.scale('web', 3);
    log.world.control.reconciler.wake();
    await until(() => log.counts()[1] === 3, { what: 'all three are followed' });
    // One moment: what stands there was given before the cut.
    log.of(first)?.write('again');
    log.of(second)?.write('and here');
    await until(() => log.seen.length === 3, { what: 'the line after' });
    expect(log.seen).toEqual([`${first} before`, `${second} still here`, `${second} and here`]);
  });
});
