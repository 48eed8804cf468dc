import { DroverError } from '#shared/errors.ts';
import type { GuestNetworks } from './guest-network.ts';

const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'this node gives no guest interfaces of its own');
};

/** For a node whose guests have the host's network or none. */
export const createNoNetworks = (): GuestNetworks => ({
  fingerprint: async () => ({ bridge: 'no: this agent makes none' }),
  prepare: refuse,
  attach: refuse,
  detach: async () => {},
  addressesOf: async () => [],
  sweep: async () => {},
});
