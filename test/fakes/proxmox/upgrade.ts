/** Requests that become websockets: let in, checked and passed to a port as pveproxy does. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { dispatch, findRoute } from './dispatch.ts';
import { ApiFailure } from './failure.ts';
import type { HttpSurroundings } from './http.ts';
import { parseForm } from './request-body.ts';
import { connectPort, portKey, terminalsOf } from './terminals.ts';
import { identify } from './tickets.ts';
import { frameSocket, handshakeOf } from './websocket.ts';

export async function answerUpgrade(
  { world, table, tickets, faults, onRequest }: HttpSurroundings,
  endpoint: string,
  request: IncomingMessage,
  connection: Duplex,
  head: Buffer,
): Promise<void> {
  const refuse = (status: number, reason: string): void =>
    void connection.end(`HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  const node = world.nodes.get(endpoint);
  if (node?.alive === false || node?.cut === true) return;
  const url = new URL(request.url ?? '/', 'https://pve');
  const path = decodeURIComponent(url.pathname.replace(/^\/api2\/json/, ''));
  onRequest('GET', path, endpoint);
  const identified = identify(world, tickets, 'GET', request.headers);
  if ('refused' in identified) return refuse(401, identified.refused);
  try {
    const found = findRoute(table, 'GET', path);
    const fault = faults.take(found.name).find(({ kind }) => kind === 'fail');
    if (fault !== undefined) throw new ApiFailure(fault.amount, fault.message);
    const raw = parseForm(url.search);
    const { caller } = identified;
    const answer = await dispatch(world, found, { method: 'GET', path, caller, raw, endpoint, files: [] });
    const port = terminalsOf(world).ports.get(portKey(endpoint, (answer as { port: string }).port));
    const handshake = handshakeOf(request.headers);
    if (handshake === undefined) return refuse(500, 'unable to upgrade to protocol');
    // Nobody listens there: the connection ends without an answer.
    if (port === undefined || port.connected !== undefined) return void connection.destroy();
    connection.write(handshake);
    connectPort(world, port, frameSocket(connection, head));
  } catch (error) {
    const { status, message } = error instanceof ApiFailure ? error : new ApiFailure(500, String(error));
    refuse(status, message);
  }
}
