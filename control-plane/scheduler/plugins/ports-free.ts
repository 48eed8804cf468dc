import type { PublishedPort } from '#shared/model.ts';
import { portsClash } from '#shared/wire/network.ts';
import type { Demand, Filter, NodeView, TakenPort } from '../plugin.ts';

/** Who has the host port already; undefined: nobody, or the one that asks. */
function holderOf(port: PublishedPort, { holder }: Demand, { ports }: NodeView): TakenPort | undefined {
  if (port.hostPort === 0) return undefined;
  for (const taken of ports)
    if ((holder === '' || taken.holder !== holder) && portsClash(port, taken)) return taken;
  return undefined;
}

/** The host ports that the demand names must be nobody else's on the node. */
export const portsFree: Filter = {
  name: 'ports-free',
  outcome: 'have a host port taken',
  concerns: ({ ports }) => ports.some(({ hostPort }) => hostPort !== 0),
  fits(demand, node) {
    for (const port of demand.ports) if (holderOf(port, demand, node) !== undefined) return false;
    return true;
  },
  reason: (demand, node) =>
    demand.ports
      .flatMap((port) => {
        const taken = holderOf(port, demand, node);
        return taken === undefined
          ? []
          : [`host port ${port.hostPort}/${port.protocol} is ${taken.instance}'s`];
      })
      .join(', '),
};
