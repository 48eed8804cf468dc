import type { Condition, NodeCapacity, NodeFacts, NodeName } from '#shared/model.ts';

/** A node as it is right now. Nothing of it is kept: after a start it is read again from the agents. */
export interface LiveNode {
  readonly name: NodeName;
  /** Its session is up. While it is not, everything else is as it was last seen. */
  readonly connected: boolean;
  /** All its instances have been told since it connected: only then is one that was not named absent. */
  readonly listed: boolean;
  readonly facts: NodeFacts;
  /** Undefined until it was first told. */
  readonly capacity: NodeCapacity | undefined;
  readonly conditions: readonly Condition[];
  readonly lastSeenAtMs: number;
  /** Digests and references of the images that are ready on it. */
  readonly images: ReadonlySet<string>;
  /** They have been listed since the start. Left out: not yet. */
  readonly imagesListed?: boolean;
  /** The node's clock less ours. */
  readonly clockSkewMs: number;
}

/** The live state of all nodes that have been heard of since the start. Observe.ts alone writes it. */
export interface FleetView {
  nodes(): ReadonlyMap<NodeName, LiveNode>;
  node(name: NodeName): LiveNode | undefined;
  /** Calls back after each change, with no data; the returned function takes it back. */
  onChange(callback: () => void): () => void;
}

export interface WritableFleetView extends FleetView {
  put(node: LiveNode): void;
  drop(name: NodeName): void;
}

export function createFleetView(): WritableFleetView {
  const nodes = new Map<NodeName, LiveNode>();
  const callbacks = new Set<() => void>();
  const tell = (): void => {
    for (const callback of callbacks) callback();
  };
  return {
    nodes: () => nodes,
    node: (name) => nodes.get(name),
    onChange(callback) {
      callbacks.add(callback);
      return () => callbacks.delete(callback);
    },
    put(node) {
      nodes.set(node.name, node);
      tell();
    },
    drop(name) {
      if (nodes.delete(name)) tell();
    },
  };
}

/** What the node holds is known: it answers, and it has told everything. */
export const isKnown = (node: LiveNode | undefined): node is LiveNode =>
  node !== undefined && node.connected && node.listed;
