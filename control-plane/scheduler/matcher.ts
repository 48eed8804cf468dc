import { RE2JS } from 're2js';
import type { Matcher } from '#shared/model.ts';

/** How long a regular expression may be, in characters. */
export const patternMax = 500;

const compiled = new WeakMap<Matcher, (text: string) => boolean>();

/** Whether the whole text matches. The time grows with the text's length and no faster. */
export function matchesText(matcher: Matcher, text: string): boolean {
  const test = compiled.get(matcher) ?? compile(matcher);
  compiled.set(matcher, test);
  return test(text);
}

/** Why it cannot be used, for people; empty where it can. */
export function matcherFault({ kind, text }: Matcher): string {
  if (text === '') return 'is empty';
  if (text.length > patternMax) return `is ${text.length} characters long; at most ${patternMax}`;
  if (kind !== 'regex') return '';
  try {
    RE2JS.compile(text);
    return '';
  } catch (error) {
    return `is not a regular expression in RE2 syntax: ${(error as Error).message}`;
  }
}

function compile({ kind, text }: Matcher): (text: string) => boolean {
  if (kind === 'exact') return (candidate) => candidate === text;
  const source = kind === 'regex' ? text : text.split('').map(globPart).join('');
  const pattern = RE2JS.compile(source, RE2JS.DOTALL);
  return (candidate) => pattern.matches(candidate);
}

const globPart = (character: string): string =>
  character === '*' ? '.*' : character === '?' ? '.' : RE2JS.quote(character);

/** How much comparing may cost, in steps of some ten nanoseconds; all that share it share what is left. */
export interface Effort {
  left: number;
}

const effortOfOne = 2_000_000;

/** False once nothing is left. */
function spend(effort: Effort, steps: number): boolean {
  effort.left -= steps;
  return effort.left >= 0;
}

/** As matchesText; undefined: it costs too much to tell. */
const tryMatch = (matcher: Matcher, text: string, effort: Effort): boolean | undefined =>
  spend(effort, matcher.kind === 'exact' ? 1 : matcher.text.length * text.length)
    ? matchesText(matcher, text)
    : undefined;

/** Every text that `other` matches is matched by `matcher` too. False where nobody can tell. */
export function covers(
  matcher: Matcher | undefined,
  other: Matcher | undefined,
  effort: Effort = { left: effortOfOne },
): boolean {
  if (matcher === undefined || isAny(matcher)) return true;
  if (other === undefined) return false;
  if (other.kind === 'exact') return tryMatch(matcher, other.text, effort) ?? false;
  if (matcher.kind === other.kind && matcher.text === other.text) return true;
  if (matcher.kind !== 'glob' || other.kind !== 'glob') return false;
  return mayMeet(matcher.text, other.text) && globCovers(matcher.text, other.text, effort);
}

type Overlap = 'yes' | 'no' | 'unknown';

/**
 * Whether one text matches both; 'unknown' where a regular expression keeps anybody from telling, or it would
 * cost too much.
 */
export function overlap(
  one: Matcher | undefined,
  other: Matcher | undefined,
  effort: Effort = { left: effortOfOne },
): Overlap {
  if (one === undefined || other === undefined) return 'yes';
  if (one.kind === 'exact') return answerOf(tryMatch(other, one.text, effort));
  if (other.kind === 'exact') return answerOf(tryMatch(one, other.text, effort));
  if (one.kind === other.kind && one.text === other.text) return 'yes';
  if (isAny(one) || isAny(other)) return 'yes';
  if (one.kind === 'regex' || other.kind === 'regex') return 'unknown';
  return mayMeet(one.text, other.text) ? answerOf(globsMeet(one.text, other.text, effort)) : 'no';
}

const answerOf = (matches: boolean | undefined): Overlap =>
  matches === undefined ? 'unknown' : matches ? 'yes' : 'no';

const isAny = ({ kind, text }: Matcher): boolean =>
  (kind === 'glob' && /^\*+$/.test(text)) || (kind === 'regex' && text === '.*');

/** Most globs begin with letters of their own: then there is nothing to walk. */
function mayMeet(one: string, other: string): boolean {
  const [left = '', right = ''] = [one, other].map((glob) => glob.split(/[*?]/, 1)[0]);
  const length = Math.min(left.length, right.length);
  return left.slice(0, length) === right.slice(0, length);
}

/** Stands for every character that neither glob names. */
const otherCharacter = '\u0000';

/**
 * Inclusion of one glob in another, by walking the included one's positions with the sets of positions that
 * the other can be in. Answers false once that takes too long, which is the careful answer.
 */
function globCovers(outer: string, inner: string, effort: Effort): boolean {
  const alphabet = alphabetOf(outer, inner);
  const seen = new Set<string>();
  const queue = [{ inside: closure(inner, [0]), outside: closure(outer, [0]) }];
  while (queue.length > 0) {
    const { inside, outside } = queue.pop() as (typeof queue)[number];
    const key = `${[...inside].join()}|${[...outside].join()}`;
    if (seen.has(key)) continue;
    seen.add(key);
    if (inside.has(inner.length) && !outside.has(outer.length)) return false;
    if (!spend(effort, alphabet.size * (inside.size + outside.size))) return false;
    for (const character of alphabet) {
      const next = step(inner, inside, character);
      if (next.size > 0) queue.push({ inside: next, outside: step(outer, outside, character) });
    }
  }
  return true;
}

/** Whether some text matches both globs: a walk over pairs of positions. Undefined: it costs too much. */
function globsMeet(one: string, other: string, effort: Effort): boolean | undefined {
  const width = other.length + 1;
  const seen = new Set<number>([0]);
  // Every pair of positions that can be reached together.
  for (const pair of seen) {
    const [left, right] = [Math.floor(pair / width), pair % width];
    if (left === one.length && right === other.length) return true;
    if (!spend(effort, 5)) return undefined;
    for (const next of together([one, left], [other, right])) seen.add(next[0] * width + next[1]);
  }
  return false;
}

/** Where both can be after one more character, or after a star that ends. */
function together(
  [one, left]: readonly [string, number],
  [other, right]: readonly [string, number],
): readonly (readonly [number, number])[] {
  const [a, b] = [one[left], other[right]];
  const next: [number, number][] = [];
  if (a === '*') next.push([left + 1, right]);
  if (b === '*') next.push([left, right + 1]);
  if (a === undefined || b === undefined) return next;
  if (a === '*' && b !== '*') next.push([left, right + 1]);
  if (b === '*' && a !== '*') next.push([left + 1, right]);
  if (a !== '*' && b !== '*' && (a === b || a === '?' || b === '?')) next.push([left + 1, right + 1]);
  return next;
}

const alphabetOf = (...globs: readonly string[]): Set<string> =>
  new Set([otherCharacter, ...globs.join('').replaceAll(/[*?]/g, '').split('')]);

/** A star may stand for nothing. */
function closure(glob: string, positions: Iterable<number>): Set<number> {
  const reached = new Set(positions);
  for (const position of reached) if (glob[position] === '*') reached.add(position + 1);
  return reached;
}

function step(glob: string, positions: ReadonlySet<number>, character: string): Set<number> {
  const next: number[] = [];
  for (const position of positions) {
    if (glob[position] === '*') next.push(position);
    else if (glob[position] === '?' || glob[position] === character) next.push(position + 1);
  }
  return closure(glob, next);
}
