import { constants } from 'node:os';
import path from 'node:path';
import type { ImageConfig } from './image-source.ts';
import { object, type Platform, parseObject, refuse } from './manifest.ts';

const realTimeBase = 34; // SIGRTMIN as C libraries count it.
const lastSignal = 64;
const maxTextBytes = 256 * 1024;

/** Reads an image's configuration (OCI image specification, "Image Configuration"). invalid-argument. */
export function parseImageConfig(raw: string): { readonly config: ImageConfig; readonly platform: Platform } {
  const document = parseObject(raw);
  const config = isMissing(document['config']) ? {} : object(document['config'], 'config');
  const platform = {
    os: text(document['os'], 'os'),
    architecture: text(document['architecture'], 'architecture'),
    variant: text(document['variant'], 'variant'),
  };
  return {
    platform,
    config: {
      entrypoint: texts(config['Entrypoint'], 'Entrypoint'),
      command: texts(config['Cmd'], 'Cmd'),
      env: parseEnv(texts(config['Env'], 'Env')),
      user: parseUser(text(config['User'], 'User')),
      workingDir: parseWorkingDir(text(config['WorkingDir'], 'WorkingDir')),
      stopSignal: parseStopSignal(text(config['StopSignal'], 'StopSignal')),
    },
  };
}

const isMissing = (value: unknown): boolean => value === undefined || value === null;

function text(value: unknown, where: string): string {
  if (isMissing(value)) return '';
  if (typeof value !== 'string') throw refuse(`${where} is not text`);
  if (value.includes('\0')) throw refuse(`${where} holds a NUL`);
  if (value.length > maxTextBytes) throw refuse(`${where} is ${value.length} bytes long`);
  return value;
}

function texts(value: unknown, where: string): string[] {
  if (isMissing(value)) return [];
  if (!Array.isArray(value)) throw refuse(`${where} is not a list`);
  return value.map((item: unknown) => text(item, where));
}

function parseEnv(pairs: readonly string[]): Record<string, string> {
  const entries = pairs.map((pair): [string, string] => {
    const equals = pair.indexOf('=');
    if (equals < 1) throw refuse(`environment ${JSON.stringify(pair.slice(0, 50))} is not NAME=value`);
    return [pair.slice(0, equals), pair.slice(equals + 1)];
  });
  return Object.fromEntries(entries);
}

/** "web", "33", "web:staff", "33:33". */
function parseUser(user: string): string {
  if (/^[A-Za-z0-9_.$-]{0,256}(:[A-Za-z0-9_.$-]{1,256})?$/.test(user)) return user;
  throw refuse(`user ${JSON.stringify(user.slice(0, 50))} is neither USER nor USER:GROUP`);
}

function parseWorkingDir(directory: string): string {
  if (directory === '') return '/';
  if (!path.posix.isAbsolute(directory)) {
    throw refuse(`working directory ${JSON.stringify(directory.slice(0, 50))} is not absolute`);
  }
  return path.posix.normalize(directory);
}

/** "15", "TERM", "SIGTERM", "SIGRTMIN+3". */
function parseStopSignal(signal: string): number {
  if (signal === '') return constants.signals.SIGTERM;
  const name = signal.startsWith('SIG') ? signal : `SIG${signal}`;
  const realTime = /^SIGRTMIN(?:\+([0-9]{1,2}))?$/.exec(name);
  const known: Readonly<Record<string, number>> = constants.signals;
  const number = /^[0-9]{1,2}$/.test(signal)
    ? Number(signal)
    : realTime !== null
      ? realTimeBase + Number(realTime[1] ?? 0)
      : known[name];
  if (number === undefined || number < 1 || number > lastSignal) {
    throw refuse(`stop signal ${JSON.stringify(signal.slice(0, 50))} is no signal`);
  }
  return number;
}
