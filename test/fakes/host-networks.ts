import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { ConfiguredInterface, GuestNetwork, GuestNetworks } from '../../agent/network/guest-network.ts';

/** GuestNetworks in memory: outlives the agent, as interfaces do. */
export interface HostNetworks extends GuestNetworks {
  /** What was made, and by whom: 'prepared' has bridges alone. */
  readonly made: Map<InstanceId, Made>;
  failWith(call: 'prepare' | 'attach' | 'detach' | 'sweep', error: DroverError | undefined): void;
}

export interface Made {
  readonly network: GuestNetwork;
  /** Of the namespace; undefined: the driver makes the interfaces. */
  readonly pid: number | undefined;
  readonly attached: boolean;
}

export function createHostNetworks(): HostNetworks {
  const made = new Map<InstanceId, Made>();
  const failures = new Map<string, DroverError>();
  const begin = (call: string, signal: AbortSignal): void => {
    signal.throwIfAborted();
    const failure = failures.get(call);
    if (failure !== undefined) throw failure;
  };
  const decide = ({ attachments }: GuestNetwork) =>
    attachments.map((one, place) =>
      one.addresses.length > 0 ? one : { ...one, addresses: [`10.99.0.${place + 2}/24`] },
    );
  const interfacesOf = (network: GuestNetwork): ConfiguredInterface[] =>
    decide(network).map(({ interface: name, addresses }) => ({ interface: name, addresses }));

  return {
    made,
    failWith(call, error) {
      if (error === undefined) failures.delete(call);
      else failures.set(call, error);
    },
    fingerprint: async () => ({ bridge: 'yes' }),
    async prepare(network, signal) {
      begin('prepare', signal);
      const attachments = decide(network);
      made.set(network.id, { network: { ...network, attachments }, pid: undefined, attached: false });
      return attachments;
    },
    async attach(network, pid, signal) {
      begin('attach', signal);
      if (pid === 0) throw new DroverError('internal', 'no process has the number 0');
      made.set(network.id, { network, pid, attached: true });
      return interfacesOf(network);
    },
    async detach(id, signal) {
      begin('detach', signal);
      made.delete(id);
    },
    async addressesOf(id) {
      const found = made.get(id);
      return found?.attached === true ? interfacesOf(found.network) : [];
    },
    async sweep(wanted, signal) {
      begin('sweep', signal);
      for (const id of made.keys()) if (!wanted.has(id)) made.delete(id);
    },
  };
}
