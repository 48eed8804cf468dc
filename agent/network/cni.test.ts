import { type GuestNetworkWorld, guestNetworkConformance } from '../../test/conformance/guest-network.ts';
import { createFakeGuestNetworks, newFakeNetworkHost } from '../../test/fakes/guest-network.ts';
import { startNetworkHost } from '../../test/network-host.ts';

async function setUpFake(): Promise<GuestNetworkWorld> {
  const alive = new Set<number>();
  const host = newFakeNetworkHost((pid) => alive.has(pid));
  let last = 100;
  return {
    networks: createFakeGuestNetworks(host),
    reopen: async () => createFakeGuestNetworks(host),
    async newGuest() {
      last += 1;
      alive.add(last);
      return last;
    },
    async endGuest(pid) {
      alive.delete(pid);
    },
    async makeForeignBridge(name) {
      host.foreign.add(name);
    },
    async listen(port) {
      host.listeners.add(port);
    },
    remains: async () => [...host.guests.keys()].toSorted(),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

guestNetworkConformance('fake', setUpFake);
guestNetworkConformance('cni', () => startNetworkHost());
