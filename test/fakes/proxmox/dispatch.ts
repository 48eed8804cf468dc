/** From a request that was read to the answer: who may, on which node, are its parameters right, and do it. */
import { factsFor } from '../../../control-plane/backends/proxmox/schema/facts.ts';
import type { Caller } from './caller.ts';
import { checkParameters } from './check-parameters.ts';
import { ApiFailure, parameterFailure, refusal } from './failure.ts';
import { checkPermission, requirePrivileges } from './permission.ts';
import type { FoundRoute, RouteTable } from './route-table.ts';
import type { Call, UploadedFile } from './route.ts';
import { notReady, viewOf } from './node-model.ts';
import type { RawParameters } from './request-body.ts';
import type { World } from './world.ts';

export interface ApiRequest {
  readonly method: string;
  /** Below /api2/json, decoded. */
  readonly path: string;
  readonly caller: Caller;
  readonly raw: RawParameters;
  /** The node whose API was called. */
  readonly endpoint: string;
  readonly files: readonly UploadedFile[];
}

/** 501 for what the API has not. */
export function findRoute(table: RouteTable, method: string, path: string): FoundRoute {
  const found = table.find(method, path);
  if (found === undefined) {
    const shown = `/${path
      .split('/')
      .filter((part) => part !== '')
      .join('/')}`;
    throw new ApiFailure(501, `Method '${method} ${shown}' not implemented`);
  }
  return found;
}

/** These run where they are asked, whatever node is in their path. */
const unproxied = new Set([
  'POST /nodes/{node}/storage/{storage}/upload',
  ...['lxc', 'qemu'].flatMap((kind) => [
    `POST /nodes/{node}/${kind}/{vmid}/termproxy`,
    `POST /nodes/{node}/${kind}/{vmid}/vncproxy`,
    `GET /nodes/{node}/${kind}/{vmid}/vncwebsocket`,
  ]),
]);

/** Gives the result of the handler; throws what becomes the answer. */
export async function dispatch(world: World, found: FoundRoute, request: ApiRequest): Promise<unknown> {
  const raw = { ...request.raw, ...found.pathParameters };
  const given = textOf(raw);
  checkPermission({ world, caller: request.caller, parameters: given }, found.facts?.permission);
  const node = await nodeOf(world, found, request.endpoint);
  if (!found.name.startsWith('GET ') && typeof world.nodes.get(node)?.files === 'object')
    throw refusal('cluster not ready - no quorum?');
  checkRaw(world, found, raw);
  if (found.handler === undefined) throw refusal(`the server for tests does not serve ${found.name}`);
  return found.handler(createCall(world, request, node, given));
}

function checkRaw(world: World, { name, facts }: FoundRoute, raw: RawParameters): void {
  if (facts === undefined) return;
  const [method = '', path = ''] = name.split(' ');
  const errors = checkParameters(factsFor(world.version), method, path, raw);
  if (errors !== undefined) throw parameterFailure(errors);
}

/** Lists become their text; the words of a command may hold anything but a NUL, which keeps them apart. */
function textOf(raw: RawParameters): Record<string, string> {
  const entries = Object.entries(raw).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(name === 'command' ? '\0' : ',') : String(value),
  ]);
  return Object.fromEntries(entries) as Record<string, string>;
}

async function nodeOf(world: World, { name, pathParameters }: FoundRoute, endpoint: string): Promise<string> {
  const { node } = pathParameters;
  if (node === undefined || node === 'localhost' || node === endpoint) return endpoint;
  const target = viewOf(world.nodes, endpoint).nodes.find(({ name: known }) => known === node);
  if (target === undefined) throw unknownNode(world, node);
  if (!unproxied.has(name)) await passOn(world, endpoint, node);
  return node;
}

function unknownNode(world: World, node: string): ApiFailure {
  const certificateOfNobody = 'error:0A000086:SSL routines::certificate verify failed';
  if (world.nodes.has(node.split('.')[0] ?? '')) return new ApiFailure(596, certificateOfNobody);
  const why = `failed to get address info for: ${node}: Temporary failure in name resolution`;
  return refusal(`hostname lookup '${node}' failed - ${why}`);
}

/** How long a silent node is tried before its address is known to lead nowhere. */
const silentMs = 30_000;

async function passOn(world: World, from: string, to: string): Promise<void> {
  const target = world.nodes.get(to);
  const source = world.nodes.get(from);
  if (target === undefined || source === undefined) return;
  if (target.alive && !target.cut && !source.cut) {
    target.openConnections = true;
    if (target.files === 'away') throw refusal(notReady);
    return;
  }
  if (target.answers === 'refused' && !target.alive) throw refusedByDead(world, to);
  if (world.clock.nowMs() - target.changedAtMs < 2 * silentMs) {
    await world.clock.sleep(silentMs * world.pace);
    throw new ApiFailure(595, 'Connection timed out');
  }
  await world.clock.sleep(1000 * world.pace);
  throw new ApiFailure(595, 'No route to host');
}

/** The connection that was open when it died is reset, later ones are refused. */
function refusedByDead(world: World, name: string): ApiFailure {
  const target = world.nodes.get(name);
  if (target?.openConnections !== true) return new ApiFailure(595, 'Connection refused');
  target.openConnections = false;
  return new ApiFailure(596, 'Connection reset by peer');
}

function createCall(world: World, request: ApiRequest, node: string, given: Record<string, string>): Call {
  const { caller, endpoint, files } = request;
  return {
    parameters: given,
    node,
    endpoint,
    caller,
    world,
    files,
    require: (path, ...privileges) => requirePrivileges({ world, caller }, path, privileges, false),
    requireAny: (path, ...privileges) => requirePrivileges({ world, caller }, path, privileges, true),
    may: (path, privilege) => world.access.may(caller, path, privilege),
    fork: (type, id, body) => world.task({ node, type, id, caller }, body).upid,
  };
}
