import type { Resources } from '#shared/model.ts';
import type { Configuration } from './guest-kind.ts';
import { numberOf, parseDiskMib, parseProperties } from './properties.ts';

/** What a spec that names no memory gets: what the cluster itself would give. */
export const defaultMemoryMib = 512;

/** As a container's configuration sets them. Nothing there limits how many processes it has. */
export function lxcLimits(config: Configuration): { limits: Resources; notEnforced: string[] } {
  const cpulimit = numberOf(config['cpulimit']);
  const diskMib = parseDiskMib(parseProperties(config['rootfs'], 'volume').get('size'));
  return {
    limits: {
      cpuMillicores: Math.round((cpulimit > 0 ? cpulimit : numberOf(config['cores'])) * 1000),
      memoryMib: numberOf(config['memory'], defaultMemoryMib),
      diskMib,
      pids: 0,
    },
    notEnforced: diskMib === 0 ? ['pids', 'disk'] : ['pids'],
  };
}
