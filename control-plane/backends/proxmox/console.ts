import { DroverError } from '#shared/errors.ts';
import type { OrderHead } from '../backend.ts';
import type { ConsoleTicket } from '../cluster-backend.ts';
import type { ClusterTools } from './cluster-memory.ts';
import { numberOf, textOf } from './guests/properties.ts';
import { configurationOf, type Look } from './look.ts';
import type { Orders } from './orders.ts';

export type OpenConsole = (order: OrderHead, signal: AbortSignal) => Promise<ConsoleTicket>;

/**
 * A container's terminal and a machine's screen, for a program of the person: the URL of the websocket on the
 * guest's own node, and the ticket that opens it for some seconds.
 */
export function createConsole(
  tools: ClusterTools,
  { look, orders }: { readonly look: Look; readonly orders: Orders },
): OpenConsole {
  const { api, memory } = tools;

  /** Where that node answers; any node serves the whole cluster. */
  function addressOf(node: string): string {
    const all = api.endpoints();
    const ip = memory.nodes.get(node)?.address ?? '';
    const found = all.find(({ address }) => ip !== '' && address.includes(ip)) ?? all[0];
    if (found !== undefined) return found.address;
    throw new DroverError('unavailable', `no endpoint of ${tools.name} is known`);
  }

  return async (order, signal) => {
    orders.reach(order.node);
    const record = orders.record(order);
    const { place } = await look.config(record, signal);
    const options = { signal, via: place.node };
    const isTerminal = record.kind === 'lxc';
    const answer = configurationOf(
      isTerminal
        ? await api.call('POST /nodes/{node}/lxc/{vmid}/termproxy', place, options)
        : await api.call('POST /nodes/{node}/qemu/{vmid}/vncproxy', { ...place, websocket: true }, options),
    );
    const ticket = textOf(answer['ticket']);
    const query = new URLSearchParams({ port: String(numberOf(answer['port'])), vncticket: ticket });
    const guest = `${encodeURIComponent(place.node)}/${record.kind}/${place.vmid}`;
    return {
      url: `wss://${addressOf(place.node)}/api2/json/nodes/${guest}/vncwebsocket?${query.toString()}`,
      kind: isTerminal ? 'terminal' : 'vnc',
      ticket,
      user: textOf(answer['user']),
    };
  };
}
