/** A guest as its driver wrote it down, for a bare program that makes more of the same. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { InstanceId } from '#shared/model.ts';

export interface SampleGuest {
  readonly id: InstanceId;
  readonly stateDir: string;
  readonly runDir: string;
  /** The host's id of root inside. */
  readonly owner: number;
}

/** A guest of crun; in texts, ID, STATE, RUN and GROUPS are in the places of what differs. */
export interface CrunSample {
  readonly directory: string;
  readonly cgroupPrefix: string;
  /** Root of the image. */
  readonly lower: string;
  readonly owner: number;
  readonly config: string;
  readonly conmon: readonly string[];
}

/** A guest of LXC; the same, and ROOT for the root of the guest. */
export interface LxcSample {
  readonly directory: string;
  /** Without a slash before: "drover-1a2b-bare". */
  readonly groups: string;
  readonly owner: number;
  readonly config: string;
  readonly command: readonly string[];
  readonly root: RootSample;
}

export type RootSample =
  | { readonly kind: 'overlay'; readonly lower: string }
  /** Clones of the snapshot, below the dataset. */
  | { readonly kind: 'zfs'; readonly snapshot: string; readonly parent: string };

const blankOf =
  ({ id, stateDir, runDir }: SampleGuest) =>
  (text: string): string =>
    text
      .replaceAll(stateDir, '{STATE}')
      .replaceAll(runDir, '{RUN}')
      .replaceAll(id, '{ID}')
      .replaceAll(groupsName(stateDir), '{GROUPS}');

const readIn = ({ stateDir }: SampleGuest, file: string): Promise<string> =>
  readFile(path.join(stateDir, file), 'utf8');

export async function readCrunSample(guest: SampleGuest, directory: string): Promise<CrunSample> {
  const { id, stateDir, owner } = guest;
  const blank = blankOf(guest);
  const pid = (await readIn(guest, `guests/${id}/conmon.pid`)).trim();
  const [, ...conmon] = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(0, -1);
  return {
    directory,
    cgroupPrefix: groupsName(stateDir),
    lower: await lowerOf(guest),
    owner,
    config: blank(await readIn(guest, `guests/${id}/config.json`)),
    conmon: conmon.map(blank),
  };
}

/** `parent`: of the clones that the bare program makes; undefined where roots are overlays. */
export async function readLxcSample(
  guest: SampleGuest,
  directory: string,
  zfs?: Omit<RootSample & { kind: 'zfs' }, 'kind'>,
): Promise<LxcSample> {
  const { id, stateDir, owner } = guest;
  const { command, rootfs } = JSON.parse(await readIn(guest, `lxc/guests/${id}/guest.json`)) as {
    readonly command: readonly string[];
    readonly rootfs: string;
  };
  const config = (await readIn(guest, `lxc/guests/${id}/config`)).replaceAll(rootfs, '{ROOT}');
  return {
    directory,
    groups: `${groupsName(stateDir)}-bare`,
    owner,
    // What only the agent needs, for the time when it is away.
    config: blankOf(guest)(config).replaceAll(/^lxc\.hook\..*\n/gm, ''),
    command,
    root: zfs === undefined ? { kind: 'overlay', lower: await lowerOf(guest) } : { kind: 'zfs', ...zfs },
  };
}

const lowerOf = async (guest: SampleGuest): Promise<string> =>
  (JSON.parse(await readIn(guest, `volumes/${guest.id}/volume.json`)) as { readonly lower: string }).lower;

/** The parent of the guests' groups: "drover-1a2b3c4d". */
export const groupsName = (stateDir: string): string =>
  `drover-${readFileSync(path.join(stateDir, 'incarnation'), 'utf8').slice(0, 8)}`;
