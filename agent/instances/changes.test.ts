import { describe, expect, it } from 'vitest';
import type { InstanceId, InstanceState } from '#shared/model.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { type Changes, createChanges, type InstanceEvent } from './changes.ts';

const incarnation = 'state-1';
const stateOf = (id: string, restarts = 0): InstanceState => ({
  instanceId: id as InstanceId,
  generation: 1,
  phase: 'running',
  pid: 1,
  startedAtMs: 1,
  exit: undefined,
  restarts,
  nextStartAtMs: 0,
  message: '',
  limits: undefined,
  notEnforced: [],
  displayName: id,
  addresses: [],
  rootPool: '',
});

function setUp(options: { readonly kept?: number; readonly readerCapacity?: number } = {}) {
  const clock = createFakeClock();
  const changes = createChanges({ incarnation, firstSequence: 100, clock, ...options });
  return { clock, changes };
}

const told = (event: InstanceEvent): string => {
  if (event.kind === 'changed') return `${event.sequence} ${event.state.instanceId}/${event.state.restarts}`;
  if (event.kind === 'removed') return `${event.sequence} -${event.id}`;
  return event.kind === 'resync' ? event.reason : `${event.sequence} bookmark`;
};

/** A reader, and what it has been told so far. */
function read(changes: Changes, from = { incarnation: '', sequence: 0 }) {
  const leaving = new AbortController();
  const seen: string[] = [];
  const ended = (async () => {
    for await (const event of changes.watch(from, leaving.signal)) seen.push(told(event));
  })();
  const leave = async (): Promise<void> => {
    leaving.abort();
    await ended;
  };
  return { seen, leave };
}

describe('a watch of instances', () => {
  it('says where it is after each 30 s of silence', async () => {
    const { clock, changes } = setUp();
    const reader = read(changes);
    await clock.advance(29_000);
    expect(reader.seen).toEqual(['100 bookmark']);
    changes.put(stateOf('a'));
    await clock.advance(29_000);
    expect(reader.seen).toEqual(['100 bookmark', '101 a/0']);
    await clock.advance(31_000);
    expect(reader.seen.slice(2)).toEqual(['101 bookmark', '101 bookmark']);
    await reader.leave();
    expect(clock.waiting()).toBe(0);
  });

  it.each([
    ['resumes after the sequence it has', { incarnation, sequence: 102 }, ['103 -a', '103 bookmark']],
    ['has nothing to tell one that is up to date', { incarnation, sequence: 103 }, ['103 bookmark']],
    [
      'begins anew for one of another state directory',
      { incarnation: 'state-0', sequence: 102 },
      ['other-incarnation', '103 b/0', '103 bookmark'],
    ],
    [
      'begins anew where the changes are kept no longer',
      { incarnation, sequence: 99 },
      ['compacted', '103 b/0', '103 bookmark'],
    ],
    [
      'begins anew for one that knows of changes to come',
      { incarnation, sequence: 200 },
      ['compacted', '103 b/0', '103 bookmark'],
    ],
    ['tells all to one that knows nothing', { incarnation: '', sequence: 0 }, ['103 b/0', '103 bookmark']],
  ])('%s', async (_name, from, expected) => {
    const { clock, changes } = setUp();
    changes.put(stateOf('a'));
    changes.put(stateOf('b'));
    changes.remove('a' as InstanceId);
    const reader = read(changes, from);
    await clock.settle();
    expect(reader.seen).toEqual(expected);
    changes.put(stateOf('b', 1));
    await clock.settle();
    expect(reader.seen.at(-1)).toBe('104 b/1');
    await reader.leave();
  });

  it('keeps a window of changes, and says compacted behind it', async () => {
    const { clock, changes } = setUp({ kept: 3 });
    for (let restarts = 0; restarts < 20; restarts += 1) changes.put(stateOf('a', restarts));
    const readers = [110, 117].map((sequence) => read(changes, { incarnation, sequence }));
    await clock.settle();
    expect(readers.map(({ seen }) => seen)).toEqual([
      ['compacted', '120 a/19', '120 bookmark'],
      ['118 a/17', '119 a/18', '120 a/19', '120 bookmark'],
    ]);
    for (const reader of readers) await reader.leave();
  });

  it('publishes nothing for a state that is as it was', async () => {
    const { changes } = setUp();
    changes.put(stateOf('a'));
    changes.put(stateOf('a'));
    changes.remove('b' as InstanceId);
    expect(changes.sequence).toBe(101);
  });

  it('tells a reader that was too slow everything anew, once', async () => {
    const { clock, changes } = setUp({ readerCapacity: 5 });
    const leaving = new AbortController();
    const events = changes.watch({ incarnation: '', sequence: 0 }, leaving.signal)[Symbol.asyncIterator]();
    const next = async (): Promise<string> => {
      const { value, done } = await events.next();
      return done ? 'end' : told(value);
    };
    expect(await next()).toBe('100 bookmark');
    changes.put(stateOf('b'));
    changes.put(stateOf('c'));
    changes.remove('b' as InstanceId);
    for (let restarts = 0; restarts < 50; restarts += 1) changes.put(stateOf('a', restarts));
    expect([await next(), await next(), await next(), await next()]).toEqual([
      'slow-reader',
      '153 c/0',
      '153 a/49',
      '153 bookmark',
    ]);
    changes.put(stateOf('a', 50));
    expect(await next()).toBe('154 a/50');
    const last = next();
    leaving.abort();
    expect(await last).toBe('end');
    await clock.settle();
    expect(clock.waiting()).toBe(0);
  });

  it('lets a reader leave in silence, without its signal', async () => {
    const { clock, changes } = setUp();
    const events = changes.watch({ incarnation: '', sequence: 0 }, new AbortController().signal);
    const left = (async () => {
      let bookmarks = 0;
      for await (const _ of events) {
        bookmarks += 1;
        if (bookmarks === 2) return 'left';
      }
      return 'ended';
    })();
    await clock.advance(30_000);
    expect(await left).toBe('left');
    expect(clock.waiting()).toBe(0);
  });
});
