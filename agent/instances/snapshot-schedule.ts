import { formatTime } from '#shared/clock.ts';
import type { Snapshot, SnapshotSchedule } from '#shared/model.ts';

export type ScheduledKind = keyof SnapshotSchedule;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const weekMs = 7 * dayMs;
/** 1 January 1970 was a Thursday: weeks begin on a Monday. */
const firstMondayMs = 4 * dayMs;

const lengthMs: Readonly<Record<ScheduledKind, number>> = { hourly: hourMs, daily: dayMs, weekly: weekMs };
const scheduledKinds: readonly ScheduledKind[] = ['hourly', 'daily', 'weekly'];

/** The hour, day or week that a moment lies in, by its first moment. */
function periodStartMs(kind: ScheduledKind, atMs: number): number {
  if (kind === 'hourly') return Math.floor(atMs / hourMs) * hourMs;
  if (kind === 'daily') return Math.floor(atMs / dayMs) * dayMs;
  return Math.floor((atMs - firstMondayMs) / weekMs) * weekMs + firstMondayMs;
}

export interface ScheduleDecision {
  readonly take: readonly { readonly kind: ScheduledKind; readonly name: string }[];
  /** Of one that is taken now, too: it counts already. */
  readonly remove: readonly Snapshot[];
}

/**
 * Which snapshots are due, and which are beyond what the schedule keeps. One of each kind for each hour, day
 * and week in UTC; what was missed while the agent was away is not made up for. A clock that was set back
 * by one of them takes none twice. Kinds that are not scheduled are left alone. Pure.
 */
export function dueSnapshots(
  schedule: SnapshotSchedule,
  taken: readonly Snapshot[],
  nowMs: number,
): ScheduleDecision {
  const take: { kind: ScheduledKind; name: string }[] = [];
  const remove: Snapshot[] = [];
  for (const kind of scheduledKinds) {
    const keep = schedule[kind];
    if (keep === 0) continue;
    const ofKind = taken
      .filter((each) => each.kind === kind)
      .toSorted((a, b) => a.createdAtMs - b.createdAtMs);
    const startMs = periodStartMs(kind, nowMs);
    // One of a time far ahead was taken before the clock was set right: it must not keep all until then away.
    const endMs = startMs + 2 * lengthMs[kind];
    const isDue = !ofKind.some(({ createdAtMs }) => createdAtMs >= startMs && createdAtMs < endMs);
    if (isDue) take.push({ kind, name: scheduledName(kind, startMs) });
    const excess = ofKind.length + (isDue ? 1 : 0) - keep;
    remove.push(...ofKind.slice(0, Math.max(0, excess)));
  }
  return { take, remove };
}

/** "hourly-20260301-1400", "daily-20260301", "weekly-20260302". */
function scheduledName(kind: ScheduledKind, startMs: number): string {
  const [date = '', time = ''] = formatTime(startMs).replaceAll(/[-:]/g, '').split('T');
  return kind === 'hourly' ? `${kind}-${date}-${time.slice(0, 4)}` : `${kind}-${date}`;
}
