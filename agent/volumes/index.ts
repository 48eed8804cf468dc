export { createDirectoryDriver } from './directory.ts';
