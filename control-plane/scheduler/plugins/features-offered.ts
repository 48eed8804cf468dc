import type { Demand, Filter, NodeView } from '../plugin.ts';

/** Where the runtime is missing, or none is named, the rule about runtimes says so. */
function lacks({ runtime }: Demand, { runtimes }: NodeView, feature: string): boolean {
  const offered = runtimes.get(runtime);
  return offered !== undefined && !offered.has(feature);
}

/** What its runtime must be able to do there, and what its node must allow. */
export const featuresOffered: Filter = {
  name: 'features-offered',
  outcome: 'cannot give it what it asks for',
  concerns: ({ features, devices }) => features.length > 0 || devices.length > 0,
  fits: (demand, node) => {
    const { features, devices } = demand;
    for (const feature of features) {
      if (lacks(demand, node, feature)) return false;
      if (feature === 'privileged' && !node.allowsPrivileged) return false;
    }
    for (const device of devices) if (!node.allowedDevices.has(device)) return false;
    return true;
  },
  reason: (demand, node) => {
    const { features, devices, runtime } = demand;
    const missing = features.filter((feature) => lacks(demand, node, feature));
    const refused = devices.filter((device) => !node.allowedDevices.has(device));
    const isForbidden = features.includes('privileged') && !node.allowsPrivileged;
    return [
      missing.length === 0 ? '' : `its ${runtime} cannot do ${missing.join(', ')}`,
      isForbidden ? 'it allows no privileged guests' : '',
      refused.length === 0 ? '' : `it allows no guest ${refused.join(', ')}`,
    ]
      .filter((part) => part !== '')
      .join(', ');
  },
};
