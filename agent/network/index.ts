export { createGuestNetworks } from './cni.ts';
