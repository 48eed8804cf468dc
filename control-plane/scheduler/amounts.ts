/** For people: "500 MiB", "1.4 GiB". Rounded to one decimal from a GiB on. */
export function formatAmountMib(mib: number): string {
  if (mib < 1024) return `${mib} MiB`;
  if (mib < 1024 ** 2) return `${Number((mib / 1024).toFixed(1))} GiB`;
  return `${Number((mib / 1024 ** 2).toFixed(1))} TiB`;
}

/** What stays free once the demand is there, as a share of the whole: from 0, full, to 1, empty. */
export function freeShare(free: number, asked: number, whole: number): number {
  if (whole <= 0) return 0;
  return Math.min(1, Math.max(0, (free - asked) / whole));
}
