import type { InstanceSpec, Resources } from '#shared/model.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import type { Configuration } from './guest-kind.ts';
import { numberOf, parseProperties, textOf } from './properties.ts';

/** What a spec that names no memory gets: what the cluster itself would give. */
export const defaultMemoryMib = 512;

/** Of a virtual machine. */
export interface Processors {
  readonly sockets: number;
  /** Of each socket. */
  readonly cores: number;
  /** Of all cores together. Zero: none beyond their number. */
  readonly limitMillicores: number;
}

type Sized = Pick<InstanceSpec, 'vm'> & { readonly resources: Pick<Resources, 'cpuMillicores'> };

/** As many cores as its share needs, and a limit where that is no whole number of them. */
export function wantedProcessors({ vm = plainVmOptions, resources }: Sized): Processors {
  const { cpuMillicores } = resources;
  const sockets = vm.sockets || 1;
  const cores = vm.cores || Math.max(1, Math.ceil(cpuMillicores / 1000 / sockets));
  const all = sockets * cores * 1000;
  return { sockets, cores, limitMillicores: cpuMillicores > 0 && cpuMillicores < all ? cpuMillicores : 0 };
}

/** A limit that limits nothing is none. */
export function foundProcessors(config: Configuration): Processors {
  const sockets = numberOf(config['sockets'], 1);
  const cores = numberOf(config['cores'], 1);
  const limit = Math.round(numberOf(config['cpulimit']) * 1000);
  return { sockets, cores, limitMillicores: limit < sockets * cores * 1000 ? limit : 0 };
}

export const millicoresOf = ({ sockets, cores, limitMillicores }: Processors): number =>
  limitMillicores || sockets * cores * 1000;

/** "128", 128 and "current=128" as versions have it. */
export const memoryMibOf = (config: Configuration): number =>
  numberOf(parseProperties(textOf(config['memory']), 'current').get('current'), defaultMemoryMib);

/** What it may shrink to; zero: it does not shrink. */
export function balloonMibOf(config: Configuration): number {
  const balloonMib = numberOf(config['balloon']);
  return balloonMib < memoryMibOf(config) ? balloonMib : 0;
}
