export { createTemplateSource } from './lxc-template.ts';
export { createOciSource } from './oci.ts';
