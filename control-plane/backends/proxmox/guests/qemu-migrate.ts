import { isOn, textOf } from './properties.ts';

type Row = Readonly<Record<string, unknown>>;

interface Preconditions {
  readonly running?: unknown;
  readonly allowed_nodes?: unknown;
  readonly not_allowed_nodes?: unknown;
  readonly local_disks?: unknown;
  readonly local_resources?: unknown;
  readonly 'mapped-resources'?: unknown;
}

/** Storages that a node has not, and other things it lacks: each by its name in the answer. */
const words: Readonly<Record<string, string>> = {
  unavailable_storages: 'it lacks the storage',
  'unavailable-resources': 'it lacks the mapped device',
  'blocking-ha-resources': 'HA keeps it apart from',
};

/** Names, or resources of HA with theirs. */
const nameOf = (value: unknown): string =>
  typeof value === 'object' && value !== null ? textOf((value as Row)['sid']) : textOf(value);

const listOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.map(nameOf).filter((text) => text !== '') : [];

const rowsOf = (value: unknown): Row[] =>
  Array.isArray(value) ? value.filter((each): each is Row => typeof each === 'object' && each !== null) : [];

/** Why a virtual machine cannot go to that node, as the cluster tells beforehand. For people. */
export function migrationObstacles(answer: unknown, target: string): string[] {
  const { allowed_nodes, not_allowed_nodes, local_resources, ...rest } = (answer ?? {}) as Preconditions;
  const local = listOf(local_resources);
  const isRunning = rest.running === 1 || rest.running === true || rest.running === '1';
  const lacking = (not_allowed_nodes as Readonly<Record<string, unknown>> | undefined)?.[target] ?? {};
  const missing = Object.entries(lacking as Row).flatMap(([what, names]) =>
    listOf(names).map((name) => `${words[what] ?? what.replaceAll(/[-_]/g, ' ')} ${name}`),
  );
  const isLeftOut = Array.isArray(allowed_nodes) && !listOf(allowed_nodes).includes(target);
  return [
    ...local.map((name) => `it uses ${name} of its node`),
    ...rowsOf(rest.local_disks).flatMap(diskObstacle),
    ...missing,
    ...(isRunning
      ? listOf(rest['mapped-resources']).map((name) => `it uses the device ${name} while it runs`)
      : []),
    ...(isLeftOut && missing.length === 0 && !isRunning ? ['the cluster does not allow it there'] : []),
  ];
}

/** Of a volume that is on its node alone. Every other is copied, unless its snapshots keep it. */
function diskObstacle({ volid, cdrom }: Row): string[] {
  const name = textOf(volid);
  // Which is made anew wherever it starts.
  if (/vm-\d+-cloudinit/.test(name)) return [];
  if (isOn(cdrom)) return [`its disc ${name} is on its node alone`];
  return /[:/]base-\d+-[^/]*\/(?:\d+\/)?vm-/.test(name)
    ? [`its disk ${name} hangs on a template of its node`]
    : [];
}
