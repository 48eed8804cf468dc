/** What nodes told of their guests and storages last: the source of cluster/resources, up to ten seconds old. */
import type { Guest, World } from './world.ts';
import { guestFigures } from './guest-figures.ts';
import type { GuestFigures } from './guest-figures.ts';

export interface NodeFigures {
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly uptime: number;
}

export interface StorageFigures {
  readonly usedBytes: number;
  readonly totalBytes: number;
}

export interface Broadcasts {
  /** All living nodes tell now. Runs every ten virtual seconds. */
  tell(): void;
  guest(vmid: number): GuestFigures | undefined;
  node(name: string): NodeFigures | undefined;
  storage(node: string, storage: string): StorageFigures | undefined;
  /** Nothing is known any more of what ran there: the first way a death is seen (see KilledNodes). */
  forget(node: string): void;
  close(): void;
}

export const broadcastEveryMs = 10_000;

export function createBroadcasts(world: () => World): Broadcasts {
  const guests = new Map<number, { readonly node: string; readonly figures: GuestFigures }>();
  const nodes = new Map<string, NodeFigures>();
  const storages = new Map<string, StorageFigures>();
  let takeBack: (() => void) | undefined;

  function tellOf(name: string): void {
    const { clock, guests: all, storages: shelves, nodes: hosts } = world();
    const node = hosts.get(name);
    if (node === undefined || !node.alive || node.cut) return;
    for (const [vmid, told] of guests) if (told.node === name) guests.delete(vmid);
    for (const guest of all.values()) if (guest.node === name) tellGuest(guest);
    nodes.set(name, { ...node.usage, uptime: Math.floor((clock.nowMs() - node.bootedAtMs) / 1000) });
    for (const definition of shelves.definitions.values()) {
      if (!shelves.isOn(definition, name)) continue;
      const figures = { usedBytes: shelves.usedBytes(definition, name), totalBytes: definition.totalBytes };
      storages.set(`${name} ${definition.id}`, figures);
    }
  }
  function tellGuest(guest: Guest): void {
    guests.set(guest.vmid, { node: guest.node, figures: guestFigures(guest, world()) });
  }
  function tell(): void {
    for (const name of world().nodes.keys()) tellOf(name);
  }
  /** The first call begins the round: the world is whole only then. */
  function begin(): void {
    takeBack ??= world().clock.every(broadcastEveryMs, tell);
  }
  return {
    tell() {
      begin();
      tell();
    },
    guest: (vmid) => (begin(), guests.get(vmid)?.figures),
    node: (name) => nodes.get(name),
    storage: (node, storage) => storages.get(`${node} ${storage}`),
    forget(node) {
      for (const [vmid, told] of guests) if (told.node === node) guests.delete(vmid);
    },
    close: () => takeBack?.(),
  };
}
