import {
  NetworkDocument as WireNetworkDocument,
  type NetworkSpec,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import type { NetworkDocument } from '#shared/wire/network-document.ts';

/** A network's document as an apply reads it; on a bridge of ours, 10.20.0.0/24, but for what a test changes. */
export function networkDocument(name = 'lan', spec: Partial<NetworkSpec> = {}): NetworkDocument {
  const subnets = [{ cidr: '10.20.0.0/24', gateway: '', first: '', last: '' }];
  const message = WireNetworkDocument.fromPartial({ metadata: { name }, spec: { subnets, ...spec } });
  const [document] = parseApplyDocuments({ networks: [message], documents: [] }).networks;
  if (document === undefined) throw new Error('no document');
  return document;
}

/** A subnet as a document has it. */
export const subnet = (cidr: string, changes: { gateway?: string; first?: string; last?: string } = {}) => ({
  cidr,
  gateway: '',
  first: '',
  last: '',
  ...changes,
});
