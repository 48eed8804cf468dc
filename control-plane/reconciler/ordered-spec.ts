import type { Dns, InstanceSpec } from '#shared/model.ts';

const isEmpty = ({ servers, search, options }: Dns): boolean =>
  servers.length + search.length + options.length === 0;

/**
 * The spec as its node is told it: where it says nothing of names, what its first network that does says. The
 * record keeps apart who said it, or the instance would no longer look like its workload.
 */
export function orderedSpec(spec: InstanceSpec): InstanceSpec {
  if (!isEmpty(spec.dns)) return spec;
  const dns = spec.assigned.attachments.find((each) => each.dns !== undefined)?.dns;
  return dns === undefined ? spec : { ...spec, dns };
}
