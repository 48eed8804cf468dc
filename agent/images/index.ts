export { createOciSource } from './oci.ts';
