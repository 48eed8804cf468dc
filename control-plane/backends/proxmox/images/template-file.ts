import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';

/** Files of the control plane's own host that may be brought to clusters. */
export interface TemplateFiles {
  /** An open file, links resolved and below an allowed directory. permission-denied; not-found. */
  open(file: string): Promise<FileHandle>;
  /** Of its content. Errors as open. */
  digest(file: string): Promise<Digest>;
}

/** Whoever may apply a workload may name a file: only what lies below the directories is read. */
export function createTemplateFiles(directories: readonly string[]): TemplateFiles {
  const isBelow = (found: string, roots: readonly string[]): boolean =>
    roots.some((each) => found.startsWith(`${each}/`));

  async function allowed(wanted: string): Promise<string> {
    const roots = await Promise.all(directories.map((each) => realpath(each).catch(() => each)));
    const found = await realpath(wanted).catch(() => undefined);
    if (found !== undefined && isBelow(found, roots)) return found;
    const subject = { image: `tar:${wanted}` };
    if (found === undefined && isBelow(path.normalize(wanted), [...roots, ...directories]))
      throw new DroverError('not-found', `there is no file ${wanted} on the control plane's host`, {
        subject,
        nextStep: 'copy it there, and name it by its whole path',
      });
    const places = directories.length === 0 ? 'none' : directories.join(', ');
    throw new DroverError('permission-denied', `${wanted} is in no directory for templates: ${places}`, {
      subject,
      nextStep: 'start the control plane with --template-root DIRECTORY, and put the file there',
    });
  }

  async function openAllowed(wanted: string): Promise<FileHandle> {
    // Links are not followed and fifos not waited for: whoever may write there may not be root.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const handle = await open(await allowed(wanted), flags);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    throw new DroverError('invalid-argument', `wanted a file, found that ${wanted} is none`, {
      subject: { image: `tar:${wanted}` },
      nextStep: 'name the file itself: tar:/PATH/NAME.tar.zst',
    });
  }

  return {
    open: openAllowed,
    async digest(wanted) {
      const hash = createHash('sha256');
      for await (const piece of (await openAllowed(wanted)).createReadStream())
        hash.update(piece as Uint8Array);
      return `sha256:${hash.digest('hex')}` as Digest;
    },
  };
}
