import os from 'node:os';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import type { ImageSource } from './image-source.ts';
import { createTemplateSource } from './lxc-template.ts';
import { createOciSource } from './oci.ts';
import type { ImageServer } from './template-origin.ts';

export { createImageCollector } from './collect.ts';
export { createOciSource };

export interface ImageSettings {
  readonly stateDir: string;
  /** Empty: below stateDir. */
  readonly credentialsDir: string;
  readonly insecureRegistries: readonly string[];
  readonly ociRoots: readonly string[];
  readonly templateRoots: readonly string[];
  readonly imageServers: Readonly<Record<string, ImageServer>>;
  readonly insecureImageServers: readonly string[];
}

/** All sources of images of a node; each reference is read by one of them. */
export function createImageSources(
  settings: ImageSettings,
  tools: { readonly clock: Clock; readonly random: Random; readonly commands: HostCommands },
): ImageSource[] {
  const { stateDir } = settings;
  const architecture = os.arch() === 'x64' ? 'amd64' : os.arch();
  return [
    createOciSource({
      ...tools,
      architecture,
      run: tools.commands.run,
      directory: path.join(stateDir, 'images'),
      credentialsDir: settings.credentialsDir || path.join(stateDir, 'credentials'),
      insecureRegistries: settings.insecureRegistries,
      layoutDirs: settings.ociRoots,
    }),
    createTemplateSource({
      ...tools,
      architecture,
      directory: path.join(stateDir, 'templates'),
      templateDirs: settings.templateRoots,
      imageServers: settings.imageServers,
      insecureServers: settings.insecureImageServers,
    }),
  ];
}
