import parseDuration from 'parse-duration';
import prettyMs from 'pretty-ms';
import { DroverError } from '#shared/errors.ts';

export { formatTime } from '#shared/clock.ts';

const maxUint32 = 2 ** 32 - 1;
const durationText = /^(\d+(\.\d+)?(ms|s|m|h|d))+$/;

/** "10s", "1h30m", "250ms" → milliseconds, whole. invalid-argument. */
export function parseDurationMs(text: string): number {
  const ms = durationText.test(text) ? parseDuration(text) : text === '0' ? 0 : null;
  if (ms === null || !Number.isInteger(ms) || ms > maxUint32) {
    throw new DroverError(
      'invalid-argument',
      `${quote(text)} is not a duration; wanted such as "10s" or "1h30m"`,
    );
  }
  return ms;
}

export const formatDuration = (ms: number): string => (ms === 0 ? '0s' : prettyMs(ms).replaceAll(' ', ''));

const mibOfSuffix: Readonly<Record<string, number>> = {
  Ki: 1 / 1024,
  Mi: 1,
  Gi: 1024,
  Ti: 1024 ** 2,
  k: 1000 / 1024 ** 2,
  M: 1000 ** 2 / 1024 ** 2,
  G: 1000 ** 3 / 1024 ** 2,
  T: 1000 ** 4 / 1024 ** 2,
};

/** "256MiB", "2GiB", "512M" → MiB, rounded up. A unit is required. invalid-argument. */
export function parseSizeMib(text: string): number {
  const [, amount, suffix] = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)B?$/.exec(text) ?? [];
  const mib = text === '0' ? 0 : Math.ceil(Number(amount) * (mibOfSuffix[suffix ?? ''] ?? Number.NaN));
  if (!Number.isFinite(mib) || mib > maxUint32) {
    const hint = sizeHint(text);
    throw new DroverError('invalid-argument', `${quote(text)} is not a size; ${hint}`);
  }
  return mib;
}

function sizeHint(text: string): string {
  const [, amount, letter] = /^\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT])?i?[bB]?\s*$/.exec(text) ?? [];
  if (amount === undefined) return 'wanted such as "256MiB" or "2GiB"';
  return `did you mean "${amount}${(letter ?? 'M').toUpperCase()}iB"?`;
}

export function formatMib(mib: number): string {
  if (mib >= 1024 ** 2 && mib % 1024 ** 2 === 0) return `${mib / 1024 ** 2}TiB`;
  if (mib >= 1024 && mib % 1024 === 0) return `${mib / 1024}GiB`;
  return `${mib}MiB`;
}

/** An amount that was measured, rounded up: "12KiB", "300MiB". */
export function formatBytes(bytes: number | bigint): string {
  const kib = Math.ceil(Number(bytes) / 1024);
  return kib < 1024 ? `${kib}KiB` : formatMib(Math.ceil(kib / 1024));
}

/** "500m" → 500, "2" → 2000, "0.5" → 500. invalid-argument. */
export function parseCpuMillicores(text: string): number {
  const [, amount, milli] = /^(\d+(?:\.\d{1,3})?)(m)?$/.exec(text) ?? [];
  const millicores = Math.round(Number(amount) * (milli === undefined ? 1000 : 1));
  if (
    !Number.isFinite(millicores) ||
    millicores > maxUint32 ||
    (milli !== undefined && amount?.includes('.'))
  ) {
    throw new DroverError(
      'invalid-argument',
      `${quote(text)} is not a share of cores; wanted such as "500m" or "2"`,
    );
  }
  return millicores;
}

export const formatCpu = (millicores: number): string =>
  millicores % 1000 === 0 ? `${millicores / 1000}` : `${millicores}m`;

const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
