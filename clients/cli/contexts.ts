import { chmod, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { Environment } from './config.ts';

/** How to reach one fleet, and as whom. The file holds a private key. */
export interface Context {
  readonly name: string;
  /** "host:port". */
  readonly address: string;
  /** PEM each. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

export interface Contexts {
  list(): Promise<readonly string[]>;
  current(): Promise<string | undefined>;
  /** The one asked for, else the one in use. not-found, with the names there are. */
  read(name: string | undefined): Promise<Context>;
  use(name: string): Promise<void>;
  /** From a file that a control plane wrote. invalid-argument. */
  add(file: string, name: string | undefined): Promise<Context>;
  remove(name: string): Promise<void>;
}

const nameText = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;

export function openContexts({ contextsDir, currentFile, context: fromEnvironment }: Environment): Contexts {
  const fileOf = (name: string): string => path.join(contextsDir, `${name}.yaml`);

  async function list(): Promise<readonly string[]> {
    const files = await readdir(contextsDir).catch(() => []);
    return files
      .filter((file) => file.endsWith('.yaml'))
      .map((file) => file.slice(0, -'.yaml'.length))
      .sort();
  }

  async function current(): Promise<string | undefined> {
    if (fromEnvironment !== undefined) return fromEnvironment;
    const chosen = (await readFile(currentFile, 'utf8').catch(() => '')).trim();
    return chosen === '' ? undefined : chosen;
  }

  async function read(asked: string | undefined): Promise<Context> {
    const name = asked ?? (await current());
    const known = await list();
    if (name !== undefined && known.includes(name))
      return parseContext(await readFile(fileOf(name), 'utf8'), name);
    const there = known.length === 0 ? 'there is none' : `you have ${known.join(', ')}`;
    const what = name === undefined ? 'no context is selected' : `no context "${name}"`;
    const nextStep =
      known.length === 0
        ? 'drover context import FILE, with the admin.yaml of a control plane'
        : `drover context use ${known[0]}`;
    throw new DroverError('not-found', `${what}; ${there}`, { nextStep });
  }

  async function use(name: string): Promise<void> {
    await read(name);
    await write(currentFile, `${name}\n`);
  }

  async function add(file: string, asked: string | undefined): Promise<Context> {
    const text = await readFile(file, 'utf8').catch((cause: unknown) => {
      throw new DroverError('invalid-argument', `cannot read ${file}: ${(cause as Error).message}`, {
        cause,
      });
    });
    const context = await parseContext(text, asked);
    if (!nameText.test(context.name)) {
      throw new DroverError('invalid-argument', `"${context.name}" is not a name; wanted a-z, 0-9 and "-"`);
    }
    await write(fileOf(context.name), JSON.stringify(context, undefined, 2));
    if ((await current()) === undefined) await use(context.name);
    return context;
  }

  async function remove(name: string): Promise<void> {
    await read(name);
    await rm(fileOf(name));
    if ((await current()) === name) await rm(currentFile, { force: true });
  }

  return { list, current, read, use, add, remove };
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await chmod(`${file}.new`, 0o600);
  await rename(`${file}.new`, file);
}

async function parseContext(text: string, name: string | undefined): Promise<Context> {
  const { parse } = await import('yaml');
  const found = ((): Partial<Record<keyof Context, unknown>> | null => {
    try {
      return parse(text) as Partial<Record<keyof Context, unknown>> | null;
    } catch (cause) {
      const message = `not a context: ${(cause as Error).message}`;
      throw new DroverError('invalid-argument', message, { cause });
    }
  })();
  const missing = (['address', 'ca', 'certificate', 'key'] as const).filter(
    (key) => typeof found?.[key] !== 'string',
  );
  if (found === null || missing.length > 0) {
    throw new DroverError('invalid-argument', `not a context: ${missing.join(', ')} missing`, {
      nextStep: 'use the admin.yaml that the control plane wrote at its first start',
    });
  }
  const { address, ca, certificate, key } = found as unknown as Context;
  return {
    name: name ?? (typeof found.name === 'string' ? found.name : 'default'),
    address,
    ca,
    certificate,
    key,
  };
}
