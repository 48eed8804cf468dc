import type { InstanceSpec } from '#shared/model.ts';
import {
  type CopiedGuest,
  type GuestCall,
  guestCall,
  type GuestKind,
  type GuestPlace,
  type MakeContext,
} from './guest-kind.ts';
import { clusterOf, isLinked } from './cluster-options.ts';

/** The guest that a copy becomes. */
export interface GuestCopy extends GuestPlace {
  readonly name: string;
  readonly description: string;
  /** With disks of its own; otherwise it shares those of a template. */
  readonly isFull: boolean;
  /** Left out, or empty: where the disks of its source are. */
  readonly storage?: string;
  /** Of a machine's disks: "qcow2". Left out, or empty: the storage decides. */
  readonly format?: string;
  /** Of the cluster. Left out, or empty: none. */
  readonly pool?: string;
}

/** Makes a guest that is a copy of another one, or of its snapshot. */
export function cloneCall(kind: GuestKind['kind'], source: CopiedGuest, copy: GuestCopy): GuestCall {
  const { node, vmid, name, description, isFull, storage, format, pool } = copy;
  const parameters = {
    node: source.node,
    vmid: source.vmid,
    newid: vmid,
    description,
    full: isFull,
    ...(source.snapshot && { snapname: source.snapshot }),
    ...(storage && { storage }),
    ...(source.node !== node && { target: node }),
    ...(pool && { pool }),
  };
  if (kind === 'lxc')
    return guestCall('POST /nodes/{node}/lxc/{vmid}/clone', { ...parameters, hostname: name });
  return guestCall('POST /nodes/{node}/qemu/{vmid}/clone', {
    ...parameters,
    name,
    ...(format === 'qcow2' && { format }),
  });
}

/** What the call cannot say is changed afterwards. A linked copy lies where its template does. */
export function cloneForSpec(
  kind: GuestKind['kind'],
  spec: InstanceSpec,
  context: MakeContext,
  source: CopiedGuest,
): GuestCall {
  const isFull = !isLinked(spec);
  const storage = isFull && spec.rootPool !== '' ? context.storageOf(spec.rootPool) : '';
  return cloneCall(kind, source, {
    node: context.node,
    vmid: context.vmid,
    name: spec.displayName,
    description: context.mark.line,
    isFull,
    storage,
    format: storage === '' ? '' : (context.diskFormat?.(storage) ?? ''),
    pool: clusterOf(spec).pool,
  });
}
