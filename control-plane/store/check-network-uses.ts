import { closest } from 'fastest-levenshtein';
import type { Network, NetworkUse, Workload } from '#shared/model.ts';
import { collectFaults, type Faults } from '#shared/wire/checks.ts';
import { countByFamily, holderOf, spacesOf, whyNotIn } from './network-use.ts';
import type { Snapshot } from './store.ts';

export interface CheckedWorkload {
  readonly name: string;
  readonly project: string;
  /** Stands before every field's name in a fault. */
  readonly prefix: string;
}

/**
 * Whether the workloads, as they are written now, can be in the networks that they name: invalid-argument
 * with every fault of all of them. An address is held, or named, by one workload alone.
 */
export function checkNetworkUses(snapshot: Snapshot, checked: readonly CheckedWorkload[]): void {
  const faults = collectFaults();
  const namers = findNamers(snapshot);
  for (const { name, project, prefix } of checked) {
    const workload = snapshot.named('workload', name, project);
    if (workload === undefined) continue;
    for (const [place, use] of workload.spec.networks.entries())
      checkUse(snapshot, workload, { use, field: `${prefix}networks[${place}]`, namers }, faults);
  }
  const [first] = checked;
  faults.throwIfAny(checked.length === 1 ? `workload ${JSON.stringify(first?.name)}` : 'documents');
}

function checkUse(
  snapshot: Snapshot,
  workload: Workload,
  { use, field, namers }: { readonly use: NetworkUse; readonly field: string; readonly namers: Namers },
  faults: Faults,
): void {
  const { project } = workload.metadata;
  const network = snapshot.named('network', use.network, project);
  if (network === undefined) {
    const names = snapshot.list('network', project).map(({ metadata }) => metadata.name);
    const hint = names.length === 0 ? '' : `; did you mean "${closest(use.network, names)}"?`;
    faults.add(`${field}.name`, `there is no network "${use.network}"${hint}`);
    return;
  }
  if (use.addresses.length === 0) return;
  checkCopies(workload, network, { use, field }, faults);
  for (const [place, address] of use.addresses.entries()) {
    const why = whyNotIn(network, address) || whoElse(snapshot, workload, network, { address, namers });
    if (why !== '') faults.add(`${field}.addresses[${place}]`, `${address} ${why}`);
  }
}

/** Every copy needs one of each family that some are named of. */
function checkCopies(
  { spec }: Workload,
  network: Network,
  { use, field }: { readonly use: NetworkUse; readonly field: string },
  faults: Faults,
): void {
  if (spacesOf(network).length === 0) return;
  for (const [family, count] of countByFamily(use))
    if (count < spec.replicas)
      faults.add(
        `${field}.addresses`,
        `has ${count} of ${family} for ${spec.replicas} copies; wanted one for each`,
      );
}

/** Empty: nobody but the workload itself. */
function whoElse(
  snapshot: Snapshot,
  workload: Workload,
  network: Network,
  { address, namers }: { readonly address: string; readonly namers: Namers },
): string {
  const { project, name } = workload.metadata;
  const holder = holderOf(snapshot, network.metadata, address);
  const owner = holder && snapshot.get('instance', holder.instanceId, project)?.workload;
  if (holder !== undefined && owner !== name) return `is held by ${holder.instance}`;
  const other = namers(project)
    .get(`${network.metadata.name}/${address}`)
    ?.find((each) => each !== name);
  return other === undefined ? '' : `is named by workload ${other}, too`;
}

/** Workloads by "network/address" that they name, of one project. Thousands may: they are read once. */
type Namers = (project: string) => ReadonlyMap<string, readonly string[]>;

function findNamers(snapshot: Snapshot): Namers {
  const found = new Map<string, ReadonlyMap<string, string[]>>();
  return (project) => {
    const known = found.get(project) ?? readNamers(snapshot, project);
    found.set(project, known);
    return known;
  };
}

function readNamers(snapshot: Snapshot, project: string): ReadonlyMap<string, string[]> {
  const namers = new Map<string, string[]>();
  for (const { spec, metadata } of snapshot.list('workload', project))
    for (const { network, addresses } of spec.networks)
      for (const address of addresses) {
        const key = `${network}/${address}`;
        const names = namers.get(key) ?? [];
        namers.set(key, names);
        names.push(metadata.name);
      }
  return namers;
}
