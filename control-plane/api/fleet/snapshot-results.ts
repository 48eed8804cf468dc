import { createHash } from 'node:crypto';
import { asDroverError, DroverError, wordsOf } from '#shared/errors.ts';
import type { SnapshotResult } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, InstanceId, NodeName, Snapshot } from '#shared/model.ts';
import { checkUuid, collectFaults, type checkName } from '#shared/wire/checks.ts';
import { formatSnapshot } from '#shared/wire/storage.ts';

/** invalid-argument. */
export function checkRequest(
  { requestId, name }: { readonly requestId: string; readonly name: string },
  check: typeof checkName,
): { requestId: string; named: string } {
  const faults = collectFaults();
  const checked = {
    requestId: checkUuid(requestId, 'requestId', faults),
    named: check(name, 'name', faults),
  };
  faults.throwIfAny('snapshot');
  return checked;
}

export const noSnapshot = (target: string, name: string): DroverError =>
  new DroverError(
    'not-found',
    name === ''
      ? `no snapshot was taken of ${target} before its last update`
      : `there is no snapshot ${JSON.stringify(name)} of ${target}`,
    {
      nextStep:
        name === ''
          ? `apply the file that should be; drover snapshot list ${target} shows its earlier data`
          : `drover snapshot list ${target}`,
    },
  );

/** A repeated request gives the same orders, which nodes carry out once. */
export const orderOf = ({ metadata }: Instance, node: NodeName, requestId: string) => ({
  node,
  instanceId: metadata.id as InstanceId,
  generation: 0,
  requestId: derivedId(requestId, `order ${metadata.id}`),
});

/** A UUID of version 8 (RFC 9562) that is always the same for the same request and purpose. */
export function derivedId(requestId: string, purpose: string): string {
  const hex = createHash('sha256').update(requestId).update('\0').update(purpose).digest('hex');
  const variant = ((Number.parseInt(hex[16] ?? '0', 16) & 3) | 8).toString(16);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`];
  return [...parts, `${variant}${hex.slice(17, 20)}`, hex.slice(20, 32)].join('-');
}

export const done = (instance: string, node: string, snapshot: Snapshot): SnapshotResult => ({
  instance,
  node,
  snapshot: formatSnapshot(snapshot),
  error: '',
  errorKind: '',
});

export function failed(instance: string, node: string, caught: unknown): SnapshotResult {
  const { kind } = asDroverError(caught);
  return { instance, node, snapshot: undefined, error: wordsOf(caught), errorKind: kind };
}
