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

/** Every text that `other` matches is matched by `matcher` too. False where nobody can tell. */
export function covers(matcher: Matcher | undefined, other: Matcher | undefined): boolean {
  if (matcher === undefined || isAny(matcher)) return true;
  if (other === undefined) return false;
  if (other.kind === 'exact') return matchesText(matcher, other.text);
  if (matcher.kind === other.kind && matcher.text === other.text) return true;
  return matcher.kind === 'glob' && other.kind === 'glob' && globCovers(matcher.text, other.text);
}

/** Whether one text matches both; 'unknown' where a regular expression keeps anybody from telling. */
export function overlap(one: Matcher | undefined, other: Matcher | undefined): 'yes' | 'no' | 'unknown' {
  if (one === undefined || other === undefined) return 'yes';
  if (one.kind === 'exact') return matchesText(other, one.text) ? 'yes' : 'no';
  if (other.kind === 'exact') return matchesText(one, other.text) ? 'yes' : 'no';
  if (covers(one, other) || covers(other, one)) return 'yes';
  if (one.kind === 'regex' || other.kind === 'regex') return 'unknown';
  return globsMeet(one.text, other.text) ? 'yes' : 'no';
}

const isAny = ({ kind, text }: Matcher): boolean =>
  (kind === 'glob' && /^\*+$/.test(text)) || (kind === 'regex' && text === '.*');

/** Stands for every character that neither glob names. */
const otherCharacter = '\u0000';

/**
 * Inclusion of one glob in another, by walking the included one's positions with the sets of positions that
 * the other can be in. Answers false once that takes too long, which is the careful answer.
 */
function globCovers(outer: string, inner: string): boolean {
  const alphabet = alphabetOf(outer, inner);
  const seen = new Set<string>();
  const queue = [{ inside: closure(inner, [0]), outside: closure(outer, [0]) }];
  for (let steps = 0; queue.length > 0; steps += 1) {
    const { inside, outside } = queue.pop() as (typeof queue)[number];
    const key = `${[...inside].join()}|${[...outside].join()}`;
    if (seen.has(key)) continue;
    seen.add(key);
    if (inside.has(inner.length) && !outside.has(outer.length)) return false;
    if (steps > 5000) return false;
    for (const character of alphabet) {
      const next = step(inner, inside, character);
      if (next.size > 0) queue.push({ inside: next, outside: step(outer, outside, character) });
    }
  }
  return true;
}

/** Whether some text matches both globs: a walk over pairs of positions. */
function globsMeet(one: string, other: string): boolean {
  const alphabet = alphabetOf(one, other);
  const seen = new Set<number>();
  const queue: [number, number][] = [[0, 0]];
  while (queue.length > 0) {
    const [left, right] = queue.pop() as [number, number];
    const key = left * (patternMax + 2) + right;
    if (seen.has(key)) continue;
    seen.add(key);
    const [lefts, rights] = [closure(one, [left]), closure(other, [right])];
    if (lefts.has(one.length) && rights.has(other.length)) return true;
    for (const character of alphabet) {
      const next = [...step(other, rights, character)];
      for (const nextLeft of step(one, lefts, character))
        queue.push(...next.map((nextRight): [number, number] => [nextLeft, nextRight]));
    }
  }
  return false;
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
