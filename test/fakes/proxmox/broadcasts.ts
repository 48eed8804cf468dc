/** What nodes told of their guests and storages last: the source of cluster/resources, up to ten seconds old. */
import type { Broadcasts, Guest, GuestFigures, NodeFigures, StorageFigures, World } from './world.ts';
import { guestFigures } from './guest-figures.ts';

export function createBroadcasts(world: () => World): Broadcasts {
  const guests = new Map<number, { readonly node: string; readonly figures: GuestFigures }>();
  const nodes = new Map<string, NodeFigures>();
  const storages = new Map<string, StorageFigures>();

  let paused = false;

  function tellOf(name: string): void {
    if (paused) return;
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
  return {
    tell,
    guest: (vmid) => guests.get(vmid)?.figures,
    node: (name) => nodes.get(name),
    storage: (node, storage) => storages.get(`${node} ${storage}`),
    forgetGuest: (vmid) => {
      guests.delete(vmid);
    },
    pause(isPaused) {
      paused = isPaused;
      if (!isPaused) return tell();
      for (const told of [guests, nodes, storages]) told.clear();
    },
    forget(node) {
      for (const [vmid, told] of guests) if (told.node === node) guests.delete(vmid);
      for (const key of storages.keys()) if (key.startsWith(`${node} `)) storages.delete(key);
    },
  };
}
