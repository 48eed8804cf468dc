import type { OrderHead } from '../../backend.ts';
import type { ConsoleTicket } from '../../cluster-backend.ts';
import { parseEndpoint } from '../api/addresses.ts';
import { rowOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { numberOf, textOf } from '../guests/properties.ts';
import type { Look } from '../life/look.ts';
import type { Orders } from '../life/orders.ts';

/** not-found; unavailable: its node does not answer. */
export type OpenConsole = (order: OrderHead, signal: AbortSignal) => Promise<ConsoleTicket>;

/**
 * Where a container's terminal and a machine's screen are: the page of the guest's own node for a person, and
 * the websocket that was opened for a program.
 */
export function createConsole(
  { api, memory }: Pick<ClusterTools, 'api' | 'memory'>,
  { look, orders }: { readonly look: Look; readonly orders: Orders },
): OpenConsole {
  /** Its own, where it is known and answers; any node has the page. */
  function addressOf(node: string, answering: string): string {
    const ip = memory.nodes.get(node)?.address ?? '';
    const own = api.endpoints().find(({ address }) => ip !== '' && parseEndpoint(address).host === ip);
    return own?.problem === '' ? own.address : answering;
  }

  return async (order, signal) => {
    orders.reach(order.node);
    const record = orders.record(order);
    const { place, config } = await look.config(record, signal);
    // The port is open on the node that answers, wherever the guest is.
    let endpoint = '';
    const options = { signal, via: place.node, onEndpoint: (address: string) => (endpoint = address) };
    const isTerminal = record.kind === 'lxc';
    const answer = rowOf(
      isTerminal
        ? await api.call('POST /nodes/{node}/lxc/{vmid}/termproxy', place, options)
        : await api.call('POST /nodes/{node}/qemu/{vmid}/vncproxy', { ...place, websocket: true }, options),
    );
    const ticket = textOf(answer['ticket']);
    const query = new URLSearchParams({ port: String(numberOf(answer['port'])), vncticket: ticket });
    const guest = `${encodeURIComponent(place.node)}/${record.kind}/${place.vmid}`;
    const page = new URLSearchParams({
      console: isTerminal ? 'lxc' : 'kvm',
      [isTerminal ? 'xtermjs' : 'novnc']: '1',
      vmid: String(place.vmid),
      vmname: textOf(config[isTerminal ? 'hostname' : 'name']),
      node: place.node,
    });
    return {
      url: `https://${addressOf(place.node, endpoint)}/?${page.toString()}`,
      kind: isTerminal ? 'terminal' : 'vnc',
      websocketUrl: `wss://${endpoint}/api2/json/nodes/${guest}/vncwebsocket?${query.toString()}`,
      ticket,
      user: textOf(answer['user']),
    };
  };
}
