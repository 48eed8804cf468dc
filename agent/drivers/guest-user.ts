import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { DroverError } from '#shared/errors.ts';

/** A user as numbers inside the guest. */
export interface GuestUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly home: string;
}

const maxFileBytes = 1024 * 1024;

/**
 * Reads "", "user", "uid", "user:group", "uid:gid" with the passwd and group files of the root. Nothing in
 * the root is followed: it belongs to the guest, which may swap a directory for a link while we look.
 * invalid-argument.
 */
export async function resolveUser(text: string, rootfs: string): Promise<GuestUser> {
  const [userText = '', groupText, ...more] = text.split(':');
  if (more.length > 0) throw refuse(text, 'wanted USER or USER:GROUP');
  const users = await readTable(rootfs, 'passwd');
  const groups = await readTable(rootfs, 'group');
  const wanted = userText === '' ? '0' : userText;
  const entry = users.find(([name]) => name === wanted) ?? users.find((fields) => fields[2] === wanted);
  const uid = toId(entry?.[2] ?? wanted);
  if (uid === undefined)
    throw refuse(text, `no user ${JSON.stringify(userText)} in /etc/passwd of the image`);
  const group = groups.find(([name]) => name === groupText);
  const gid = toId(groupText === undefined ? (entry?.[3] ?? '0') : (group?.[2] ?? groupText));
  if (gid === undefined)
    throw refuse(text, `no group ${JSON.stringify(groupText)} in /etc/group of the image`);
  const home = entry?.[5] ?? '';
  return {
    uid,
    gid,
    additionalGids: groupText === undefined ? groupsOf(entry?.[0], groups, gid) : [],
    home: home.startsWith('/') && !/\p{Cc}/u.test(home) ? home : '/',
  };
}

const groupsOf = (user: string | undefined, groups: readonly string[][], gid: number): number[] =>
  groups
    .filter(([, , , members = '']) => user !== undefined && members.split(',').includes(user))
    .map((fields) => toId(fields[2] ?? ''))
    .filter((id): id is number => id !== undefined && id !== gid)
    .slice(0, 64);

/** Ids above the range that is mapped would fail in crun; they are refused there by its own words. */
function toId(text: string): number | undefined {
  const id = Number(text);
  return /^\d{1,10}$/.test(text) && id < 2 ** 31 ? id : undefined;
}

async function readTable(rootfs: string, name: 'passwd' | 'group'): Promise<string[][]> {
  const handles: FileHandle[] = [];
  try {
    const step = async (place: string, flags: number): Promise<FileHandle> => {
      const handle = await open(place, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      handles.push(handle);
      return handle;
    };
    const root = await step(rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
    // Through the descriptor: a path would be walked anew, and the guest may have moved its parts meanwhile.
    const etc = await step(`/proc/self/fd/${root.fd}/etc`, constants.O_RDONLY | constants.O_DIRECTORY);
    const file = await step(`/proc/self/fd/${etc.fd}/${name}`, constants.O_RDONLY);
    const status = await file.stat();
    if (!status.isFile() || status.size > maxFileBytes) return [];
    const text = await file.readFile('utf8');
    return text.split('\n').map((line) => line.split(':'));
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].includes(code)) return [];
    if (['ENOTCONN', 'EIO'].includes(code)) throw deadRoot(error);
    throw error;
  } finally {
    for (const handle of handles) await handle.close();
  }
}

/** A guest keeps the mounts that it began with, and a daemon that was killed takes its mounts with it. */
const deadRoot = (cause: unknown): DroverError =>
  new DroverError('unavailable', "the guest's root does not answer: what its pool ran on has died since", {
    cause,
    nextStep: 'start it anew when the pool is usable: drover kill INSTANCE --signal KILL',
  });

const refuse = (text: string, why: string): DroverError =>
  new DroverError('invalid-argument', `user ${JSON.stringify(text)}: ${why}`, { subject: { field: 'user' } });
