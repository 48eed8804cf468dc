import { DroverError, type FieldFault } from '#shared/errors.ts';
import type { Digest, InstanceId, NodeName } from '#shared/model.ts';

/** Collects every fault of a message, so that a person mends them all at once. */
export interface Faults {
  add(field: string, message: string): void;
  /** Throws invalid-argument with all that was found. */
  throwIfAny(what: string): void;
}

export function collectFaults(): Faults {
  const faults: FieldFault[] = [];
  return {
    add: (field, message) => {
      if (faults.length < 100) faults.push({ field, message });
    },
    throwIfAny: (what) => {
      const [first, ...more] = faults;
      if (first === undefined) return;
      const rest = more.length === 0 ? '' : ` (and ${more.length} more)`;
      throw new DroverError('invalid-argument', `${what}: ${first.field}: ${first.message}${rest}`, {
        subject: { field: first.field },
        faults,
      });
    },
  };
}

/** One value, checked on its own; invalid-argument. */
export function parseOne<T>(what: string, check: (faults: Faults) => T): T {
  const faults = collectFaults();
  const value = check(faults);
  faults.throwIfAny(what);
  return value;
}

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

export const show = (text: string): string =>
  JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

const name = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const digest = /^sha256:[0-9a-f]{64}$/;
const labelKey =
  /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;
const envName = /^[A-Za-z_][A-Za-z0-9_.-]{0,254}$/;
// Each part can match in one way only: a pattern that can try two would take for ever on hostile text.
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const domain = `${label}(?:\\.${label})*|\\[[0-9a-fA-F:]+\\]`;
const repository = '[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*)*';
const tagAndDigest = '(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?';
const registryImage = new RegExp(`^(?:${domain})(?::[0-9]{1,5})?/${repository}${tagAndDigest}$`);
const layoutImage =
  /^oci:(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)+(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;
const tarballImage = /^tar:(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)+(?:@sha256:[0-9a-f]{64})?$/;
const urlImage = new RegExp(
  `^https?://(?:${domain})(?::[0-9]{1,5})?(?:/[A-Za-z0-9_][A-Za-z0-9._~+-]*)+@sha256:[0-9a-f]{64}$`,
);
const serverImage =
  /^lxc:[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?(?:\/[a-z0-9][a-z0-9._-]{0,63}){1,6}(?:@sha256:[0-9a-f]{64})?$/;
/**
 * On a storage of a cluster: "proxmox:local:vztmpl/debian-12.tar.zst"; or a guest, by name or number, also as
 * it was in a snapshot: "proxmox:guest/105@before".
 */
const clusterPlace = '[A-Za-z][A-Za-z0-9._-]{0,63}:(?:vztmpl|import|iso)|template|guest';
const clusterImage = new RegExp(
  `^proxmox:(?:${clusterPlace})/[A-Za-z0-9][A-Za-z0-9._+-]{0,199}` +
    '(?:@[A-Za-z][A-Za-z0-9_-]{1,39})?(?:@sha256:[0-9a-f]{64})?$',
);
const pathImages = [layoutImage, tarballImage, urlImage, serverImage, clusterImage];
const user = /^(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})(?::(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}))?$/;

export function checkName(text: string, field: string, faults: Faults): string {
  if (!name.test(text)) {
    faults.add(
      field,
      `${show(text)} is not a name; wanted 1 to 40 of a-z, 0-9 and "-", not beginning or ending with "-"`,
    );
  }
  return text;
}

/** Empty is allowed. */
export const optionalName = (text: string, field: string, faults: Faults): string =>
  text === '' ? '' : checkName(text, field, faults);

/** Pools of clusters are called as their storages are: "local-lvm", "NAS_2". Empty is allowed. */
export function optionalPool(text: string, field: string, faults: Faults): string {
  if (text !== '' && !/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$/.test(text))
    faults.add(field, `${show(text)} is not a pool; wanted letters, digits and ".", "_", "-" between them`);
  return text;
}

export function atMost(list: readonly unknown[], most: number, field: string, faults: Faults): void {
  if (list.length > most) faults.add(field, `has ${list.length} entries; at most ${most}`);
}

/** Empty means "default", the only project for now. */
export function checkProject(text: string, field: string, faults: Faults): string {
  if (text !== '' && text !== 'default')
    faults.add(field, `there is no project ${show(text)}; the only one is "default"`);
  return 'default';
}

export function checkUuid(text: string, field: string, faults: Faults): string {
  if (!uuid.test(text)) faults.add(field, `${show(text)} is not a UUID in lower case`);
  return text;
}

/** Counts of any kind: non-negative, and exact as a number. */
export function checkCount(value: bigint, field: string, faults: Faults): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) faults.add(field, `${value} is out of range`);
  return Number(value);
}

export function checkRange(
  value: number,
  range: readonly [number, number],
  field: string,
  faults: Faults,
): number {
  const [least, most] = range;
  if (!(value >= least && value <= most))
    faults.add(field, `${value} is out of range; wanted ${least} to ${most}`);
  return value;
}

/** Text that tools may see as data: no NUL, a bounded length. Newlines are kept. */
export function checkData(text: string, most: number, field: string, faults: Faults): string {
  if (text.includes('\0')) faults.add(field, 'holds a NUL character');
  if (text.length > most) faults.add(field, `is ${text.length} characters long; at most ${most}`);
  return text;
}

/** Text for people on one line. */
export function checkLine(text: string, most: number, field: string, faults: Faults): string {
  if (controls.test(text)) faults.add(field, `${show(text)} holds control characters`);
  return checkData(text, most, field, faults);
}

/** A reference to an image; a registry's host is always named. Empty is refused. */
export function checkImage(text: string, field: string, faults: Faults): string {
  const known =
    text.length <= 500 &&
    (registryImage.test(text) || (pathImages.some((each) => each.test(text)) && !text.includes('..')));
  if (!known || text.includes('/../') || text.includes('/./')) {
    const wanted =
      'wanted such as "registry.example/web:1.4", "oci:/path/to/layout", "tar:/path/to/rootfs.tar.xz", ' +
      '"https://host/rootfs.tar.xz@sha256:…", "lxc:server/debian/12" or ' +
      '"proxmox:local:vztmpl/debian-12.tar.zst"';
    faults.add(field, `${show(text)} is not an image; ${wanted}`);
  }
  return text;
}

const pinnedTo = /@sha256:[0-9a-f]{64}$/;

/** Whether a reference is bound to a digest. Another "@" names a snapshot of a guest. */
export const isPinned = (reference: string): boolean => pinnedTo.test(reference);

export const unpinned = (reference: string): string => reference.replace(pinnedTo, '');

export function checkPinnedImage(text: string, field: string, faults: Faults): string {
  if (!isPinned(text)) faults.add(field, `${show(text)} has no digest`);
  return checkImage(text, field, faults);
}

export function checkCommand(words: readonly string[], field: string, faults: Faults): string[] {
  if (words.length > 1000) faults.add(field, `has ${words.length} words; at most 1000`);
  if (words.length > 0 && words[0] === '') faults.add(`${field}[0]`, 'the program is empty');
  return words.map((word, place) => checkData(word, 128 * 1024, `${field}[${place}]`, faults));
}

export function checkEnv(
  env: Readonly<Record<string, string>>,
  field: string,
  faults: Faults,
): Record<string, string> {
  const entries = Object.entries(env);
  if (entries.length > 1000) faults.add(field, `has ${entries.length} entries; at most 1000`);
  const checked = entries.map(([key, value]) => {
    if (!envName.test(key))
      faults.add(`${field}.${key.slice(0, 80)}`, `${show(key)} is not a variable's name`);
    return [key, checkData(value, 128 * 1024, `${field}.${key.slice(0, 80)}`, faults)] as const;
  });
  return ownRecord(checked);
}

export function checkLabels(
  labels: Readonly<Record<string, string>>,
  field: string,
  faults: Faults,
): Record<string, string> {
  const entries = Object.entries(labels);
  if (entries.length > 64) faults.add(field, `has ${entries.length} labels; at most 64`);
  for (const [key, value] of entries) {
    if (!labelKey.test(key)) faults.add(`${field}.${key.slice(0, 80)}`, `${show(key)} is not a label's name`);
    if (!labelValue.test(value))
      faults.add(`${field}.${key.slice(0, 80)}`, `${show(value)} is not a label's value`);
  }
  return ownRecord(entries);
}

export function checkAnnotations(
  annotations: Readonly<Record<string, string>>,
  field: string,
  faults: Faults,
): Record<string, string> {
  const entries = Object.entries(annotations);
  const total = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  if (total > 16 * 1024) faults.add(field, `holds ${total} characters; at most ${16 * 1024}`);
  for (const [key, value] of entries) {
    if (!labelKey.test(key))
      faults.add(`${field}.${key.slice(0, 80)}`, `${show(key)} is not an annotation's name`);
    checkData(value, 16 * 1024, `${field}.${key.slice(0, 80)}`, faults);
  }
  return ownRecord(entries);
}

/** "uid", "uid:gid" or names from the image. Empty: the image's own. */
export function checkUser(text: string, field: string, faults: Faults): string {
  if (text !== '' && !user.test(text))
    faults.add(field, `${show(text)} is not a user; wanted "uid", "uid:gid" or a name`);
  return text;
}

/** Absolute inside the guest. Empty: the image's own. */
export function checkWorkingDir(text: string, field: string, faults: Faults): string {
  const outside = text !== '' && (!text.startsWith('/') || text.split('/').includes('..'));
  if (outside) faults.add(field, `${show(text)} is not an absolute path without ".."`);
  return checkLine(text, 4096, field, faults);
}

export function checkDevice(text: string, field: string, faults: Faults): string {
  if (!/^\/dev\/[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\/[A-Za-z0-9][A-Za-z0-9_-]{0,63})?$/.test(text))
    faults.add(field, `${show(text)} is not a device; wanted such as "/dev/fuse" or "/dev/net/tun"`);
  return text;
}

/** A record without a prototype: "__proto__" and "constructor" are keys like any other. */
export function ownRecord<V>(entries: Iterable<readonly [string, V]>): Record<string, V> {
  const record: Record<string, V> = Object.create(null) as Record<string, V>;
  for (const [key, value] of entries) record[key] = value;
  return record;
}

/** invalid-argument. */
export const parseInstanceId = (text: string): InstanceId =>
  parseOne('instance id', (faults) => {
    if (!uuidV7.test(text)) faults.add('instanceId', `${show(text)} is not an instance's id`);
    return text as InstanceId;
  });

/** invalid-argument. */
export const parseNodeName = (text: string): NodeName =>
  parseOne('node name', (faults) => checkName(text, 'node', faults) as NodeName);

/** invalid-argument. */
export const parseDigest = (text: string): Digest =>
  parseOne('digest', (faults) => {
    if (!digest.test(text)) faults.add('digest', `${show(text)} is not a SHA-256 digest`);
    return text as Digest;
  });

/** The first where nothing is said. */
export function oneOf<Choice extends string>(
  choices: readonly [Choice, ...Choice[]] | readonly Choice[],
  text: string | undefined,
  field: string,
  faults: Faults,
): Choice {
  const wanted = text === undefined || text === '' ? choices[0] : text;
  if (!choices.includes(wanted as Choice)) {
    const known = choices.filter((each) => each !== '').map((each) => `"${each}"`);
    faults.add(field, `${show(wanted ?? '')} is not known; wanted one of ${known.join(', ')}`);
  }
  return wanted as Choice;
}
