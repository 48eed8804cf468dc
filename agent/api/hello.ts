import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { HelloRequest, HelloResponse } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { version, wireMinor } from '#shared/version.ts';
import { formatNodeFacts } from '#shared/wire/node.ts';
import { checkFleet } from '../instances/orders.ts';
import type { Instances } from '../instances.ts';
import type { NodeReports } from './node-reports.ts';

/** What this agent can do beyond the first version of the contract, by name. */
const capabilities = [
  'exec',
  'exec-tty',
  'logs-follow',
  'pull-images',
  'pause',
  'stats',
  'console',
  'snapshots',
  'volumes',
  'image-remove',
];

export interface HelloParts {
  readonly instances: Instances;
  readonly reports: NodeReports;
  readonly bootId: string;
  readonly clock: Clock;
}

/** Begins a session. failed-precondition: version-skew, unknown-fleet, stale-epoch. */
export async function sayHello(request: HelloRequest, parts: HelloParts): Promise<HelloResponse> {
  const { instances, reports, bootId, clock } = parts;
  checkVersion(request);
  const asked = { fleetId: request.fleetId, fleetEpoch: Number(request.fleetEpoch) };
  checkFleet(asked, instances.fleet.seen());
  await instances.fleet.raise(asked.fleetEpoch);
  return {
    version,
    wireMinor,
    capabilities,
    incarnation: instances.incarnation,
    bootId,
    clockMs: BigInt(Math.round(clock.nowMs())),
    facts: formatNodeFacts(reports.facts()),
  };
}

/** The control plane is upgraded first, and by one step. */
export function checkVersion(
  peer: { readonly version: string; readonly wireMinor: number },
  own = wireMinor,
): void {
  if (peer.wireMinor === own || peer.wireMinor === own + 1) return;
  const message =
    `control plane ${peer.version} speaks wire minor ${peer.wireMinor}, agent ${version} speaks ${own}; ` +
    'they work together when equal, or with the control plane one ahead';
  throw new DroverError('failed-precondition', message, {
    reason: 'version-skew',
    nextStep: peer.wireMinor > own ? 'upgrade the agent' : 'upgrade the control plane first',
  });
}
