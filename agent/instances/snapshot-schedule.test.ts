import { describe, expect, it } from 'vitest';
import type { Snapshot, SnapshotId, SnapshotKind, SnapshotSchedule } from '#shared/model.ts';
import { dueSnapshots } from './snapshot-schedule.ts';

const at = (text: string): number => Date.parse(text);
const taken = (kind: SnapshotKind, text: string): Snapshot => ({
  id: text as SnapshotId,
  name: text,
  instanceId: 'x' as Snapshot['instanceId'],
  kind,
  createdAtMs: at(text),
  volumes: [],
  crashInconsistent: false,
  pauseMs: 0,
  generation: 1,
});
const every: SnapshotSchedule = { hourly: 2, daily: 1, weekly: 1 };
const hourly: SnapshotSchedule = { hourly: 2, daily: 0, weekly: 0 };
const now = '2026-03-01T14:05:00Z'; // A Sunday.

describe('snapshots by schedule', () => {
  it.each<[string, SnapshotSchedule, Snapshot[], string, string[], string[]]>([
    ['none are due without a schedule', { hourly: 0, daily: 0, weekly: 0 }, [], now, [], []],
    [
      'the first of each kind is due at once',
      every,
      [],
      now,
      ['hourly-20260301-1400', 'daily-20260301', 'weekly-20260223'],
      [],
    ],
    [
      'one of a time to come keeps none from being taken now',
      hourly,
      [taken('hourly', '2036-03-01T14:00:00Z')],
      now,
      ['hourly-20260301-1400'],
      [],
    ],
    ['one in an hour is enough', hourly, [taken('hourly', '2026-03-01T14:00:00Z')], now, [], []],
    [
      'the next hour has its own',
      hourly,
      [taken('hourly', '2026-03-01T13:59:59Z')],
      now,
      ['hourly-20260301-1400'],
      [],
    ],
    [
      'what is beyond the count goes, the oldest first',
      hourly,
      [
        taken('hourly', '2026-03-01T11:00:00Z'),
        taken('hourly', '2026-03-01T12:00:00Z'),
        taken('hourly', '2026-03-01T13:00:00Z'),
      ],
      now,
      ['hourly-20260301-1400'],
      ['2026-03-01T11:00:00Z', '2026-03-01T12:00:00Z'],
    ],
    [
      'what people and updates took is never counted and never goes',
      hourly,
      [taken('manual', '2026-03-01T01:00:00Z'), taken('before-update', '2026-03-01T02:00:00Z')],
      now,
      ['hourly-20260301-1400'],
      [],
    ],
    [
      'a kind that is no longer scheduled is left alone',
      { hourly: 0, daily: 0, weekly: 1 },
      [taken('hourly', '2026-02-01T01:00:00Z'), taken('weekly', '2026-02-23T00:00:01Z')],
      now,
      [],
      [],
    ],
    [
      'weeks begin on Monday',
      { hourly: 0, daily: 0, weekly: 2 },
      [taken('weekly', '2026-03-01T23:59:59Z')],
      '2026-03-02T00:00:00Z',
      ['weekly-20260302'],
      [],
    ],
    [
      'a clock that was set back takes none twice',
      hourly,
      [taken('hourly', '2026-03-01T15:00:00Z')],
      now,
      [],
      [],
    ],
    [
      'a clock that jumped ahead takes one, and not those between',
      hourly,
      [taken('hourly', '2026-03-01T14:00:00Z')],
      '2026-03-05T09:30:00Z',
      ['hourly-20260305-0900'],
      [],
    ],
  ])('%s', (_name, schedule, all, atText, names, gone) => {
    const { take, remove } = dueSnapshots(schedule, all, at(atText));
    expect(take.map(({ name }) => name)).toEqual(names);
    expect(remove.map(({ name }) => name)).toEqual(gone);
  });
});
