export { createGuestNetworks, type GuestNetworksOptions } from './cni.ts';
