import { isDeepStrictEqual } from 'node:util';
import type { InstanceSpec } from '#shared/model.ts';
import { isOciImage, isTemplate } from '../images/image-references.ts';
import { takesOci } from '../images/oci-names.ts';
import type { ClusterVersion, Configuration } from './guest-kind.ts';
import { textOf } from './properties.ts';

type Program = Pick<InstanceSpec, 'command' | 'env'>;

const plainWord = /^[^\s\p{Cc}"'\\]+$/u;
/** As the API takes one, and a spec: a name without dots and dashes. */
const plainName = /^[A-Za-z_][A-Za-z0-9_]*$/;
// The configuration has a line for each, and loses what is blank at its end.
const plainValue = /^(?:[^\p{Cc}]|\t)*$/u;

/** What cannot be said of a container's first program and its environment, a sentence each. */
export function cannotRun({ command, env }: Program, version: ClusterVersion): string[] {
  const entries = Object.entries(env);
  const names = entries.map(([name]) => name).filter((name) => !plainName.test(name));
  const values = entries.filter(([, value]) => !plainValue.test(value) || /\s$/.test(value));
  if (!takesOci(version))
    return [
      ...(command.length > 0
        ? ['command: a container starts the init of its template; from 9.1 on it can be set']
        : []),
      ...(entries.length > 0
        ? ['env: a container has the environment of its template; from 9.1 on it can be set']
        : []),
    ];
  return [
    ...(command.every((word) => plainWord.test(word))
      ? []
      : ['command: its words have no spaces, quotes, backslashes or control characters']),
    ...names.map((name) => `env: ${JSON.stringify(name)}: names have letters, digits and "_"`),
    ...values.map(([name]) => `env: ${name}: values have one line, and no blank at the end`),
  ];
}

/** The init that a container starts where nothing is said. */
const init = ['/sbin/init'];
const isInit = (command: readonly string[]): boolean => command.length === 0 || command.join(' ') === init[0];

const formatEnv = (entries: Iterable<readonly [string, string]>): string =>
  Array.from(entries, ([name, value]) => `${name}=${value}`).join('\0');

/** For a container that is not there yet; what comes with an image of a registry overrides it. */
export const newProgram = ({ command, env }: Program): { entrypoint?: string; env?: string } => ({
  ...(command.length > 0 && { entrypoint: command.join(' ') }),
  ...(Object.keys(env).length > 0 && { env: formatEnv(Object.entries(env)) }),
});

/**
 * What the image of a registry or a template brought stays where a spec says nothing of it: its program, its
 * PATH. Of every other container, program and environment are those of its spec.
 */
export function programChanges(
  spec: Program & Pick<InstanceSpec, 'image'>,
  config: Configuration,
): { readonly set: Record<string, unknown>; readonly unset: string[] } {
  const set: Record<string, unknown> = {};
  const unset: string[] = [];
  const isBrought = isOciImage(spec.image) || isTemplate(spec.image);
  const found = foundProgram(config);
  if (!isSameProgram(found.command, spec.command) && !(isBrought && spec.command.length === 0)) {
    if (isInit(spec.command)) unset.push('entrypoint');
    else set['entrypoint'] = spec.command.join(' ');
  }
  const env = new Map([...(isBrought ? Object.entries(found.env) : []), ...Object.entries(spec.env)]);
  if (!isDeepStrictEqual(env, new Map(Object.entries(found.env)))) {
    const text = [formatEnv(env), ...found.strange].filter((each) => each !== '').join('\0');
    if (text === '') unset.push('env');
    else set['env'] = text;
  }
  return { set, unset };
}

const isSameProgram = (one: readonly string[], other: readonly string[]): boolean =>
  (isInit(one) && isInit(other)) || isDeepStrictEqual([...one], [...other]);

/** As a spec would say it. What it cannot say stays: `notes`. */
export function foundProgram(config: Configuration): {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Variables that no spec can say, as they are. */
  readonly strange: readonly string[];
  readonly notes: readonly string[];
} {
  const entrypoint = textOf(config['entrypoint']);
  const words = entrypoint.split(/\s+/).filter((word) => word !== '');
  const isPlain = words.every((word) => plainWord.test(word));
  const variables = textOf(config['env'])
    .split('\0')
    .filter((each) => each !== '')
    .map((text) => ({ text, name: text.slice(0, Math.max(0, text.indexOf('='))) }));
  const strange = variables.filter(({ name }) => !plainName.test(name)).map(({ text }) => text);
  return {
    command: isPlain && !isInit(words) ? words : [],
    env: Object.fromEntries(
      variables
        .filter(({ name }) => plainName.test(name))
        .map(({ text, name }) => [name, text.slice(name.length + 1)]),
    ),
    strange,
    notes: [
      ...(isPlain ? [] : [`its entrypoint stays: ${entrypoint}`]),
      ...strange.map((text) => `its variable stays: ${text}`),
    ],
  };
}
