import type { Instance, Node, Workload } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import type { Kind, Records } from './store.ts';

/**
 * A record as the present model has it: what an earlier version did not write is as a spec that says nothing
 * of it has it. The one place where old records are read; they are written anew when they change. A record of
 * the present version is returned as it is. Pure.
 */
export function upgradeRecord(kind: Kind, record: Records[Kind]): Records[Kind] {
  switch (kind) {
    case 'workload':
      return upgradeWorkload(record as Workload);
    case 'instance':
      return upgradeInstance(record as Instance);
    case 'node':
      return upgradeNode(record as Node);
    default:
      return record;
  }
}

/** Before there were pools, data volumes and networks. */
const isOldSpec = (spec: object | undefined): boolean => spec !== undefined && !('rootPool' in spec);

function upgradeWorkload(record: Workload): Workload {
  const spec = isOldSpec(record.spec) ? { ...plainGuestConfig, ...record.spec } : record.spec;
  const { resolved } = record;
  if (resolved === undefined || 'runtimeBecause' in resolved)
    return spec === record.spec ? record : { ...record, spec };
  const runtimeBecause = spec.runtime === '' ? 'chosen before there were rules' : 'named in the spec';
  return {
    ...record,
    spec,
    resolved: { ...(resolved as NonNullable<Workload['resolved']>), runtimeBecause },
  };
}

function upgradeInstance(record: Instance): Instance {
  const spec = isOldSpec(record.spec)
    ? { ...plainGuestConfig, ...record.spec, assigned: emptyAssignment }
    : record.spec;
  const { observed } = record;
  const isOldState = typeof observed === 'object' && !('addresses' in observed);
  if (spec === record.spec && !isOldState) return record;
  const state = isOldState ? { addresses: [], rootPool: '', ...(observed as object) } : observed;
  return { ...record, spec, observed: state as Instance['observed'] };
}

function upgradeNode(record: Node): Node {
  const { facts } = record;
  if (facts === undefined || 'pools' in facts) return record;
  const unknown = { pools: [], allowedDevices: [], allowsPrivileged: false };
  return { ...record, facts: { ...unknown, ...(facts as NonNullable<Node['facts']>) } };
}
