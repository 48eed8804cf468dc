export { createDirectoryDriver, type DirectoryDriverOptions } from './directory.ts';
