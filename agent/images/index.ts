export { createOciSource, type OciSourceOptions } from './oci.ts';
