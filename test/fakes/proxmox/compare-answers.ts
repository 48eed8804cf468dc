/** How far an answer is from a recorded one: keys and key values count, measures and names of the day do not. */

/** "data[lxc/7010].status: recorded running, found stopped". */
export interface Finding {
  /** "status", "reason", "data[lxc/7010].tags". */
  readonly field: string;
  readonly recorded: string;
  readonly found: string;
}

/** Their values are of the moment; only their kind counts. */
const measures = new Set(
  `cpu mem memhost disk diskread diskwrite netin netout uptime used avail used_fraction free total available time
  localtime pid pstart starttime endtime ctime timestamp loadavg idle wait mhz flags ticket CSRFPreventionToken value
  ssl_fingerprint ip address cidr gateway ring0_addr kversion release version.current-kernel snaptime uid id.log port
  password cert upid.list digest ksm shared.ksm maxdisk freemem balloon.size total_mem snapstate rootfs.used size.subvol
  memory.used memused memtotal rootused roottotal swapused swaptotal iowait arcsize memavailable pressurecpusome pressurecpufull pressureiosome pressureiofull pressurememorysome pressurememoryfull`
    .split(/\s+/)
    .filter((name) => name !== ''),
);

/** Names of the day in a text become what they are names of. */
export function plainText(text: string): string {
  return text
    .replace(/UPID:[^\s'",]+:/g, 'UPID')
    .replace(/\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b|pveupload-[0-9a-f]{32}/g, 'DIGEST')
    .replace(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, 'UUID')
    .replace(/fe80::[0-9a-f:]+/g, 'LINK-LOCAL')
    .replace(/\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/gi, 'MAC')
    .replace(/\b(?:10\.99\.86|127\.\d+\.\d+)\.\d+\b/g, 'ADDRESS')
    .replace(/\.tmp(?:_dwnl)?\.\d+/g, '.tmp.PID')
    .replace(/(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4}/g, 'TIME')
    .replace(/\d{4}[-_]\d\d[-_]\d\d[ _-]\d\d[:_]\d\d[:_]\d\d/g, 'TIME')
    .replace(/PREEMPT_DYNAMIC.*$/g, 'PREEMPT_DYNAMIC')
    .replace(/[\d.]+[KMG]=[\d.]+s|\([\d.]+ [KMG]B\/s\)/g, 'SPEED')
    .replace(/100% +SPEED/g, '100% SPEED')
    .replace(/^password: .*$/gm, 'password: HASH')
    .replace(/ctime=\d+/g, 'ctime=TIME')
    .replace(/creation-qemu=[\d.]+/g, 'creation-qemu=VERSION')
    .replace(/<[a-z0-9-]+>/g, 'PLACEHOLDER')
    .trimEnd();
}

const kindOf = (value: unknown): string =>
  Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
const shown = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 160);

type Row = Readonly<Record<string, unknown>>;
const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const names = [
  'id',
  'volid',
  'key',
  'vmid',
  'storage',
  'poolid',
  'tokenid',
  'userid',
  'roleid',
  'groupid',
  'realm',
  'sid',
];
const moreNames = ['rule', 'group', 'iface', 'subdir', 'node', 'name', 'upid', 'time'];

/** What a row of a list is called; its place where it has no name. */
function nameOf(row: unknown, place: number): string {
  if (!isRow(row)) return typeof row === 'string' ? row : String(place);
  if ('upid' in row && 'starttime' in row) return plainText(String(row['upid']));
  if ('n' in row && 't' in row) return `line ${String(row['n'])}`;
  if ('ugid' in row) return `${String(row['path'])} ${String(row['ugid'])} ${String(row['roleid'])}`;
  const key = [...names, ...moreNames].find((name) => name in row);
  return key === undefined ? String(place) : plainText(String(row[key]));
}

const keyOf = (field: string): string => /([^.[\]]+)$/.exec(field)?.[1] ?? '';

export function compareValues(field: string, recorded: unknown, found: unknown): Finding[] {
  if (recorded === undefined && found === undefined) return [];
  const differ = [{ field, recorded: shown(recorded), found: shown(found) }];
  if (kindOf(recorded) !== kindOf(found)) return differ;
  if (Array.isArray(recorded) && Array.isArray(found)) return compareLists(field, recorded, found);
  if (isRow(recorded) && isRow(found)) return compareRows(field, recorded, found);
  const key = keyOf(field);
  if (measures.has(key) || /\[local:backup\/.*\]\.size$/.test(field)) return [];
  return textOf(key, recorded) === textOf(key, found) ? [] : differ;
}

/** One moment of a graph: which moments have figures is chance. */
const isSample = (row: unknown): boolean =>
  isRow(row) && 'time' in row && (Object.keys(row).length === 1 || 'netin' in row);
/** Of the cluster's log, which is full of what was before. */
const isLogEntry = (row: unknown): boolean => isRow(row) && 'pri' in row && 'tag' in row;

const allKeys = (rows: readonly unknown[]): Row =>
  Object.fromEntries(rows.flatMap((row) => Object.keys(row as Row)).map((key) => [key, 'there']));

/** Lists in one text have no order of their own. */
function textOf(key: string, value: unknown): string {
  if (typeof value !== 'string') return String(value);
  return plainText(key === 'content' || key === 'privs' ? value.split(',').sort().join() : value);
}

function compareRows(field: string, recorded: Row, found: Row): Finding[] {
  const keys = new Set([...Object.keys(recorded), ...Object.keys(found)]);
  return [...keys].flatMap((key) => {
    const at = field === '' ? key : `${field}.${key}`;
    return compareValues(at, recorded[key], found[key]);
  });
}

function compareLists(field: string, recorded: readonly unknown[], found: readonly unknown[]): Finding[] {
  if (recorded.some((row) => isRow(row) && 't' in row && 'n' in row)) {
    return compareLogs(field, recorded, found);
  }
  if (measures.has(keyOf(field))) return [];
  if (recorded.some(isSample) || recorded.some(isLogEntry)) {
    return compareValues(`${field}[*]`, allKeys(recorded), allKeys(found));
  }
  const named = (rows: readonly unknown[]): Map<string, unknown> =>
    new Map(rows.map((row, place) => [nameOf(row, place), row]));
  const ours = named(found);
  const theirs = named(recorded);
  return [...new Set([...theirs.keys(), ...ours.keys()])].flatMap((name) =>
    compareValues(`${field}[${name}]`, theirs.get(name), ours.get(name)),
  );
}

/** The options of a backup job stand as chance has it. */
const inAnyOrder = (line: string): string =>
  line.startsWith('INFO: starting new backup job') ? line.split(' --').sort().join(' --') : line;

/** The last line tells how it ended; those before it are compared as one text. */
function compareLogs(field: string, recorded: readonly unknown[], found: readonly unknown[]): Finding[] {
  const lines = (rows: readonly unknown[]): string[] =>
    rows.map((row) =>
      plainText(inAnyOrder(String((row as Row)['t']))).replace(/\d+([.,]\d+)?(?= ?[KMG]i?B)/g, 'N'),
    );
  const [theirs, ours] = [lines(recorded), lines(found)];
  return [
    ...compareValues(`${field}[last line]`, theirs.at(-1), ours.at(-1)),
    ...compareValues(`${field}[lines]`, theirs.slice(0, -1).join('\n'), ours.slice(0, -1).join('\n')),
  ];
}
