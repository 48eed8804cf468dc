import { isDeepStrictEqual } from 'node:util';
import type { ClusterOptions, InstanceSpec, Resources } from '#shared/model.ts';
import { clusterOf } from './cluster-options.ts';
import type { Change, Configuration } from './guest-kind.ts';
import { defaultMemoryMib, lxcLimits } from './lxc-limits.ts';
import {
  formatProperties,
  isOn,
  mergeProperties,
  numberOf,
  parseList,
  parseProperties,
  type Properties,
} from './properties.ts';
import { ownTags, tagsWith } from './tags.ts';

/** What is one value each. Undefined: the key is not to be there. */
function wantedOptions(spec: InstanceSpec): Readonly<Record<string, string | number | boolean | undefined>> {
  const { resources, restart, startOrder, dns } = spec;
  const text = (words: readonly string[], separator: string): string | undefined =>
    words.length === 0 ? undefined : words.join(separator);
  return {
    memory: resources.memoryMib || defaultMemoryMib,
    ...processors(resources),
    onboot: restart.policy !== 'never' && clusterOf(spec).onBoot,
    protection: clusterOf(spec).protection || undefined,
    startup: startOrder === 0 ? undefined : `order=${startOrder}`,
    nameserver: text(dns.servers, ' '),
    searchdomain: text(dns.search, ' '),
  };
}

/** As many cores as its share needs, and a limit where that is no whole number of them. */
function processors({ cpuMillicores }: Resources): { cores?: number; cpulimit?: number } {
  if (cpuMillicores === 0) return {};
  const cores = Math.ceil(cpuMillicores / 1000);
  return cpuMillicores % 1000 === 0 ? { cores } : { cores, cpulimit: cpuMillicores / 1000 };
}

/** For a container that is not there yet. */
export const options = (spec: InstanceSpec): Record<string, string | number | boolean> =>
  Object.fromEntries(Object.entries(wantedOptions(spec)).filter((entry) => entry[1] !== undefined)) as Record<
    string,
    string | number | boolean
  >;

export function optionChanges(spec: InstanceSpec, config: Configuration): Change {
  const wanted = wantedOptions(spec);
  const set: Record<string, unknown> = {};
  const unset: string[] = [];
  const says = (key: string, isSame: boolean): void => {
    if (isSame) return;
    if (wanted[key] === undefined) unset.push(key);
    else set[key] = wanted[key];
  };
  const { resources, startOrder, dns } = spec;
  says('memory', lxcLimits(config).limits.memoryMib === wanted['memory']);
  if (lxcLimits(config).limits.cpuMillicores !== resources.cpuMillicores) {
    for (const key of ['cores', 'cpulimit'] as const)
      says(key, config[key] === undefined && wanted[key] === undefined);
  }
  says('onboot', isOn(config['onboot']) === wanted['onboot']);
  says('protection', isOn(config['protection']) === clusterOf(spec).protection);
  if (!isDeepStrictEqual(ownTags(config), clusterOf(spec).tags))
    set['tags'] = tagsWith(config, clusterOf(spec).tags);
  says('nameserver', parseList(config['nameserver']).join(' ') === dns.servers.join(' '));
  says('searchdomain', parseList(config['searchdomain']).join(' ') === dns.search.join(' '));
  const startup = parseProperties(config['startup'], 'order');
  if (numberOf(startup.get('order')) !== startOrder) {
    const next = mergeProperties(startup, { order: startOrder === 0 ? undefined : startOrder });
    if (next.size === 0) unset.push('startup');
    else set['startup'] = formatProperties(next);
  }
  return { set, unset };
}

function wantedFeatures(spec: InstanceSpec): Readonly<Record<string, string | true | undefined>> {
  const { keyctl, fuse, mount } = clusterOf(spec).features;
  return {
    nesting: spec.security.nesting || undefined,
    keyctl: keyctl || undefined,
    fuse: fuse || undefined,
    mount: mount.length === 0 ? undefined : mount.join(';'),
  };
}

/** For a container that is not there yet; undefined: none. */
export function newFeatures(spec: InstanceSpec): Readonly<Record<string, string | true>> | undefined {
  const wanted = Object.entries(wantedFeatures(spec)).filter((entry) => entry[1] !== undefined);
  return wanted.length === 0 ? undefined : (Object.fromEntries(wanted) as Record<string, string | true>);
}

export const foundFeatures = (features: Properties): ClusterOptions['features'] => ({
  keyctl: isOn(features.get('keyctl')),
  fuse: isOn(features.get('fuse')),
  mount: parseList(features.get('mount')).toSorted(),
});

/** What is not said here stays as it is. */
export function featureChanges(spec: InstanceSpec, config: Configuration): Change {
  const features = parseProperties(config['features']);
  const isSame =
    isOn(features.get('nesting')) === spec.security.nesting &&
    isDeepStrictEqual(foundFeatures(features), clusterOf(spec).features);
  if (isSame) return { set: {}, unset: [] };
  const next = mergeProperties(features, wantedFeatures(spec));
  return next.size === 0
    ? { set: {}, unset: ['features'] }
    : { set: { features: formatProperties(next) }, unset: [] };
}
