import type { Condition } from '#shared/model.ts';

const maxSkewMs = 30_000;

/** The node's own conditions, and ours: a clock that is too far from this one. Pure. */
export function withSkew(
  reported: readonly Condition[],
  skewMs: number,
  before: readonly Condition[],
  nowMs: number,
): readonly Condition[] {
  const own = reported.filter(({ type }) => type !== 'ClockSkew');
  if (Math.abs(skewMs) <= maxSkewMs) return own;
  const since = before.find(({ type }) => type === 'ClockSkew')?.sinceMs ?? nowMs;
  const way = skewMs > 0 ? 'ahead of' : 'behind';
  const message = `its clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${way} the control plane's`;
  return [...own, { type: 'ClockSkew', holds: true, reason: 'Skewed', message, sinceMs: since }];
}

/** Those that began, and those that ended. Pure. */
export function changedConditions(before: readonly Condition[], now: readonly Condition[]): Condition[] {
  const held = (conditions: readonly Condition[], type: string): boolean =>
    conditions.some((condition) => condition.type === type && condition.holds);
  const begun = now.filter(({ type, holds }) => holds && !held(before, type));
  const ended = before
    .filter(({ type, holds }) => holds && !held(now, type))
    .map((condition) => ({ ...condition, holds: false, message: '' }));
  return [...begun, ...ended];
}
