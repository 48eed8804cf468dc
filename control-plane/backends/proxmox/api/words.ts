import { knownWords, type Verdict } from './known-words.ts';

const textLimit = 600;

/**
 * A text of the cluster as a person may read it: on one line, without the places in Perl it came from,
 * without what a terminal obeys, and not longer than a paragraph.
 */
export function cleanText(text: string, limit = textLimit): string {
  const plain = text
    .slice(0, 16 * limit)
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
    .replace(/ at \/[^\s]+ line \d+(?:, <[^>\s]*> (?:line|chunk) \d+)?\.?/g, '')
    .replace(/ {2,}/g, ' ')
    .trim();
  return plain.length > limit ? `${plain.slice(0, limit).toWellFormed()}…` : plain;
}

/** By the words of a 500 or of a task's end; undefined: words that nobody has seen. */
export function verdictOf(text: string): Verdict | undefined {
  const plain = cleanText(text, 4000);
  const row = knownWords.find(({ words }) => words.test(plain));
  if (row === undefined) return undefined;
  const { words: _words, ...verdict } = row;
  return verdict;
}

/** Ends that say only that something failed: the log says what. */
export const saysNothing = (text: string): boolean =>
  /^(?:migration aborted|job errors|.* failed: exit code \d+|start failed: QEMU exited with code \d+)$/.test(
    cleanText(text, 4000),
  );
