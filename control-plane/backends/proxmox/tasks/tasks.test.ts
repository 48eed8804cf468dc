import { beforeEach, describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { type FakeClock, createFakeClock } from '../../../../test/fakes/clock.ts';
import type { ClusterApi, Tasks } from '../cluster-api.ts';
import { createTasks } from './tasks.ts';

const { signal } = new AbortController();

/** A task as its node knows it. */
interface KnownTask {
  exitStatus: string | undefined;
  log: string[];
}

/** The four calls about tasks over a table of tasks: what there is, is said as the real server says it. */
function taskTable() {
  const table = new Map<string, KnownTask>();
  const asked: string[] = [];
  let trouble: (() => never) | undefined;
  const keyOf = (parameters: object): string => {
    const { node, upid } = parameters as { node: string; upid: string };
    if (upid.split(':')[1] !== node || !table.has(upid)) {
      throw new DroverError('not-found', 'no such task', { reason: 'task' });
    }
    return upid;
  };
  const answers: Readonly<Record<string, (parameters: object) => unknown>> = {
    'GET /nodes/{node}/tasks': () =>
      [...table].flatMap(([upid, { exitStatus }]) =>
        exitStatus === undefined ? [{ upid, status: 'RUNNING' }] : [],
      ),
    'GET /nodes/{node}/tasks/{upid}/status': (parameters) => {
      const exitstatus = table.get(keyOf(parameters))?.exitStatus;
      return exitstatus === undefined ? { status: 'running' } : { status: 'stopped', exitstatus };
    },
    'GET /nodes/{node}/tasks/{upid}/log': (parameters) => {
      const { start, limit } = parameters as { start: number; limit: number };
      const lines = table.get(keyOf(parameters))?.log ?? [];
      if (lines.length === 0) return [{ n: 1, t: 'no content' }];
      return lines.map((t, place) => ({ n: place + 1, t })).slice(start, start + limit);
    },
    'DELETE /nodes/{node}/tasks/{upid}': (parameters) => {
      const task = table.get(keyOf(parameters));
      if (task !== undefined) task.exitStatus ??= 'received interrupt';
      return null;
    },
  };
  const api: ClusterApi = {
    async call(method, parameters) {
      asked.push(method);
      await Promise.resolve();
      trouble?.();
      return answers[method]?.(parameters);
    },
    upload: () => Promise.reject(new Error('not asked for')),
    openSocket: () => Promise.reject(new Error('not asked for')),
    endpoints: () => [],
    learn: () => undefined,
    close: () => Promise.resolve(),
  };
  return {
    api,
    asked,
    table,
    begin(node = 'pve1', number = table.size + 1): string {
      const upid = `UPID:${node}:${number.toString(16).padStart(8, '0').toUpperCase()}:0009589E:6B040043:vzstart:7301:drover@pve!fleet:`;
      table.set(upid, { exitStatus: undefined, log: [] });
      return upid;
    },
    end(upid: string, exitStatus = 'OK'): void {
      const task = table.get(upid);
      if (task !== undefined) task.exitStatus = exitStatus;
    },
    say: (upid: string, ...lines: string[]): void => void table.get(upid)?.log.push(...lines),
    break(
      kind: 'unavailable' | 'unauthenticated' | 'deadline-exceeded' | 'aborted' | undefined,
      reason = 'node-unreachable',
    ): void {
      trouble =
        kind === undefined
          ? undefined
          : () => {
              throw new DroverError(kind, 'node pve1 does not answer', { reason });
            };
    },
  };
}

let clock: FakeClock;
let node: ReturnType<typeof taskTable>;
let tasks: Tasks;
beforeEach(() => {
  clock = createFakeClock();
  node = taskTable();
  tasks = createTasks({ cluster: 'rig', api: node.api, clock });
});

/** Keeps a rejection from being told as unhandled while time passes. */
function watched<T>(promise: Promise<T>): Promise<T> & { ended: () => boolean } {
  let ended = false;
  const done = (): void => {
    ended = true;
  };
  promise.then(done, done);
  return Object.assign(promise, { ended: () => ended });
}

describe('a task', () => {
  it('is waited for to its end, at the node of its id', async () => {
    const upid = node.begin('pve2');
    const end = watched(tasks.wait(upid, { signal }));
    await clock.advance(1000);
    expect(end.ended()).toBe(false);
    node.end(upid);
    await clock.advance(1000);
    expect(await end).toEqual({ upid, warnings: 0, log: [] });
  });

  it('is asked for at intervals that grow with its age, and its log not at all', async () => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    const times: number[] = [];
    for (let passedMs = 0; passedMs < 120_000; passedMs += 50) {
      await clock.advance(50);
      while (times.length < node.asked.length) times.push(passedMs + 50);
    }
    expect(times.slice(0, 5)).toEqual([100, 200, 300, 400, 500]);
    const gaps = times.slice(1).map((time, place) => time - (times[place] ?? 0));
    expect(gaps.filter((gap) => gap > 2050 && gap < 5000)).toEqual([]);
    expect(gaps.at(-1)).toBe(5000);
    expect(node.asked.length).toBeLessThan(70);
    expect(new Set(node.asked)).toEqual(new Set(['GET /nodes/{node}/tasks/{upid}/status']));
    node.end(upid);
    await clock.advance(5000);
    await end;
  });

  it('with warnings did what was asked', async () => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    node.say(upid, 'WARN: something is odd', 'TASK WARNINGS: 2');
    node.end(upid, 'WARNINGS: 2');
    await clock.advance(100);
    expect(await end).toMatchObject({ warnings: 2, log: ['WARN: something is odd', 'TASK WARNINGS: 2'] });
  });

  it.each([
    ['CT is locked (backup)', 'aborted', 'locked'],
    ["Configuration file 'nodes/pve1/lxc/7999.conf' does not exist", 'not-found', 'guest'],
    ['received interrupt', 'aborted', 'interrupted'],
    ['unexpected status', 'unavailable', 'task-lost'],
    ['unable to read tail (got 0 bytes)', 'unavailable', 'task-lost'],
    ['something that nobody has seen', 'internal', 'words'],
    ['WARNINGS: many', 'internal', 'words'],
  ])('that ended with "%s" is %s', async (exitStatus, kind, reason) => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    node.end(upid, exitStatus);
    await clock.advance(100);
    await expect(end).rejects.toMatchObject({
      kind,
      reason,
      message: `vzstart of 7301 on pve1 failed: ${exitStatus}`,
      subject: { cluster: 'rig', node: 'pve1', task: 'vzstart', upid },
    });
  });

  it('that says only that it failed is understood by its log, which is told', async () => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    node.say(
      upid,
      'starting migration',
      "2026-11-23 ERROR: storage 'x' does not exist",
      'aborting phase 1',
      'TASK ERROR: migration aborted',
    );
    node.end(upid, 'migration aborted');
    await clock.advance(100);
    await expect(end).rejects.toMatchObject({
      kind: 'not-found',
      reason: 'storage',
      message: expect.stringMatching(
        /migration aborted; its log says: 2026-11-23 ERROR: storage 'x' does not exist \| aborting phase 1$/,
      ),
    });
  });

  it('that leaves a machine where it is names the volume that keeps it, though other lines follow', async () => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    const why = 'online storage migration not possible if non-replicated snapshot exists';
    node.say(
      upid,
      "found local disk 'local-lvm:vm-100-disk-0' (attached)",
      `can't migrate local disk 'local-lvm:vm-100-disk-0': ${why}`,
      "ERROR: Problem found while scanning volumes - can't migrate VM - check log",
      'aborting phase 1 - cleanup resources',
      "ERROR: migration aborted (duration 00:00:00): Problem found while scanning volumes - can't migrate VM - check log",
      'TASK ERROR: migration aborted',
    );
    node.end(upid, 'migration aborted');
    await clock.advance(100);
    await expect(end).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'local-snapshots',
      message: expect.stringContaining(
        `its log says: can't migrate local disk 'local-lvm:vm-100-disk-0': ${why}`,
      ),
    });
  });

  it.each(['', 'UPID:pve1', 'UPID:pve1:0:0:0:a:b:c:', 'null', 'UPID:../x:00000001:00000001:00000001:a:b:c:'])(
    'is not %j',
    async (text) => {
      await expect(tasks.wait(text, { signal })).rejects.toMatchObject({
        kind: 'internal',
        reason: 'garbage',
      });
    },
  );

  it('whose id holds a volume and a token is one', async () => {
    const upid = 'UPID:pve1:00001F31:000A7D81:6B040330:imgdel:7310@btr:root@pam!rig:';
    node.table.set(upid, { exitStatus: 'OK', log: [] });
    const end = watched(tasks.wait(upid, { signal }));
    await clock.advance(100);
    expect((await end).upid).toBe(upid);
  });
});

describe('a log', () => {
  it('is told as it grows, each line once and clean', async () => {
    const upid = node.begin();
    const lines: string[] = [];
    const end = watched(tasks.wait(upid, { signal, onLog: (line) => lines.push(line) }));
    await clock.advance(100);
    expect(lines).toEqual([]);
    node.say(upid, 'one', 'two\u001b[2J');
    await clock.advance(100);
    expect(lines).toEqual(['one', 'two [2J']);
    await clock.advance(500);
    node.say(upid, 'three', 'TASK OK');
    node.end(upid);
    await clock.advance(1000);
    expect(await end).toEqual({ upid, warnings: 0, log: ['one', 'two [2J', 'three'] });
    expect(lines).toEqual(['one', 'two [2J', 'three', 'TASK OK']);
  });

  it('that is long is read in pages', async () => {
    const upid = node.begin();
    const lines: string[] = [];
    const end = watched(tasks.wait(upid, { signal, onLog: (line) => lines.push(line) }));
    node.say(upid, ...Array.from({ length: 1234 }, (_, number) => `line ${number}`));
    node.end(upid);
    await clock.advance(100);
    await end;
    expect(lines).toHaveLength(1234);
    expect(new Set(lines).size).toBe(1234);
  });

  it('is told from its beginning to whoever comes later', async () => {
    const upid = node.begin();
    const [first, second]: [string[], string[]] = [[], []];
    const ends = [watched(tasks.wait(upid, { signal, onLog: (line) => first.push(line) }))];
    node.say(upid, 'one');
    await clock.advance(100);
    ends.push(watched(tasks.wait(upid, { signal, onLog: (line) => second.push(line) })));
    node.say(upid, 'two');
    node.end(upid);
    await clock.advance(1000);
    await Promise.all(ends);
    expect([first, second]).toEqual([
      ['one', 'two'],
      ['one', 'two'],
    ]);
  });
});

describe('many tasks of one node', () => {
  it('are followed by one list', async () => {
    const upids = Array.from({ length: 50 }, () => node.begin());
    const ends = upids.map((upid) => watched(tasks.wait(upid, { signal })));
    await clock.advance(20_000);
    expect(new Set(node.asked)).toEqual(new Set(['GET /nodes/{node}/tasks']));
    expect(node.asked.length).toBeLessThan(40);
    const before = node.asked.length;
    for (const upid of upids) node.end(upid);
    await clock.advance(4000);
    await Promise.all(ends);
    expect(node.asked.length - before).toBeLessThanOrEqual(52);
  });

  it('that began one after another are looked at together', async () => {
    const ends: Promise<unknown>[] = [];
    for (let count = 0; count < 20; count += 1) {
      ends.push(watched(tasks.wait(node.begin(), { signal })));
      await clock.advance(37);
    }
    node.asked.length = 0;
    await clock.advance(20_000);
    expect(node.asked.length).toBeLessThan(60);
    for (const upid of node.table.keys()) node.end(upid);
    await clock.advance(4000);
    await Promise.all(ends);
  });

  it('each end by themselves', async () => {
    const upids = Array.from({ length: 6 }, () => node.begin());
    const ends = upids.map((upid) => watched(tasks.wait(upid, { signal })));
    await clock.advance(500);
    node.end(upids[2] ?? '', 'CT is locked (backup)');
    node.end(upids[4] ?? '');
    await clock.advance(500);
    expect(ends.map((end) => end.ended())).toEqual([false, false, true, false, true, false]);
    await expect(ends[2]).rejects.toMatchObject({ reason: 'locked' });
    for (const upid of upids) node.end(upid);
    await clock.advance(2000);
    await Promise.all(ends.filter((_end, place) => place !== 2));
  });
});

describe('a node that does not answer', () => {
  it('is asked again, and the task goes on when it is back', async () => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    node.break('unavailable');
    await clock.advance(60_000);
    expect(end.ended()).toBe(false);
    expect(node.asked.length).toBeLessThan(35);
    node.break(undefined);
    node.end(upid);
    await clock.advance(5000);
    expect((await end).warnings).toBe(0);
  });

  it('for a lock, as has been seen, is asked again, and the task has not failed', async () => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    node.break('aborted', 'locked');
    await clock.advance(5000);
    expect(end.ended()).toBe(false);
    node.break(undefined);
    node.end(upid);
    await clock.advance(5000);
    expect((await end).warnings).toBe(0);
  });

  it('for five minutes leaves the end of its tasks unknown', async () => {
    const ends = Array.from({ length: 10 }, () => watched(tasks.wait(node.begin(), { signal })));
    node.break('deadline-exceeded');
    await clock.advance(4 * 60_000);
    expect(ends.some((end) => end.ended())).toBe(false);
    await clock.advance(2 * 60_000);
    for (const end of ends) {
      await expect(end).rejects.toMatchObject({
        kind: 'unavailable',
        reason: 'task-lost',
        message: 'the end of vzstart of 7301 on pve1 cannot be known: node pve1 does not answer',
      });
    }
    expect(clock.waiting()).toBe(0);
  });

  it.each([
    ['a task that it does not know', () => node.table.clear()],
    ['a credential that is not taken any more', () => node.break('unauthenticated', 'credential')],
    ['a connection that we closed', () => node.break('unavailable', 'closed')],
  ])('is not waited for because of %s', async (_name, happen) => {
    const end = watched(tasks.wait(node.begin(), { signal }));
    happen();
    await clock.advance(100);
    await expect(end).rejects.toMatchObject({ kind: 'unavailable', reason: 'task-lost' });
  });

  it('when the caller gives up leaves the end unknown', async () => {
    const giveUp = new AbortController();
    const end = watched(tasks.wait(node.begin(), { signal: giveUp.signal }));
    node.break('unavailable');
    await clock.advance(1000);
    giveUp.abort();
    await expect(end).rejects.toMatchObject({ kind: 'unavailable', reason: 'task-lost' });
  });
});

describe('whoever gives up', () => {
  it.each([
    ['in general', (): unknown => undefined, 'unavailable', 'cancelled'],
    ['for the time', () => new DOMException('late', 'TimeoutError'), 'deadline-exceeded', 'timeout'],
    [
      'for a reason of its own',
      () => new DroverError('aborted', 'superseded', { reason: 'newer' }),
      'aborted',
      'newer',
    ],
  ] as const)('%s is told so, and nobody asks for the task any more', async (_name, reason, kind, name) => {
    const giveUp = new AbortController();
    const end = watched(tasks.wait(node.begin(), { signal: giveUp.signal }));
    await clock.advance(1000);
    giveUp.abort(reason());
    await expect(end).rejects.toMatchObject({ kind, reason: name });
    const before = node.asked.length;
    await clock.advance(60_000);
    expect(node.asked).toHaveLength(before);
    expect(clock.waiting()).toBe(0);
  });

  it('leaves the task to others that wait for it', async () => {
    const upid = node.begin();
    const giveUp = new AbortController();
    const one = watched(tasks.wait(upid, { signal: giveUp.signal }));
    const other = watched(tasks.wait(upid, { signal }));
    await clock.advance(200);
    giveUp.abort();
    await expect(one).rejects.toMatchObject({ reason: 'cancelled' });
    node.end(upid);
    await clock.advance(500);
    expect((await other).upid).toBe(upid);
  });
});

describe('an abort', () => {
  it('ends the task', async () => {
    const upid = node.begin();
    const end = watched(tasks.wait(upid, { signal }));
    await tasks.abort(upid, signal);
    await clock.advance(100);
    await expect(end).rejects.toMatchObject({ kind: 'aborted', reason: 'interrupted' });
  });

  it('of a task that is gone is done', async () => {
    const upid = node.begin();
    node.table.clear();
    await tasks.abort(upid, signal);
  });

  it('that nobody answers is told', async () => {
    node.break('unavailable');
    await expect(tasks.abort(node.begin(), signal)).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
