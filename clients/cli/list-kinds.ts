/** What `drover get` lists. */
export const listKinds = [
  'nodes',
  'workloads',
  'instances',
  'images',
  'operations',
  'volumes',
  'networks',
  'clusters',
  'guests',
] as const;
export type ListKind = (typeof listKinds)[number];
