import { isMarkTag, parseTags } from '../identity/marks.ts';
import type { Configuration } from './guest-kind.ts';

/** What a spec can say: an older cluster keeps capitals too. */
const isSayable = (tag: string): boolean => /^[a-z0-9_][a-z0-9_+.-]{0,62}$/.test(tag);

const tagsOf = (config: Configuration): string[] => [...new Set(parseTags(config['tags']))];

/** In order, as a cluster keeps them; without ours, and without what no spec can say. */
export const ownTags = (config: Configuration): string[] =>
  tagsOf(config)
    .filter((tag) => !isMarkTag(tag) && isSayable(tag))
    .toSorted();

export const unsayableTags = (config: Configuration): string[] =>
  tagsOf(config).filter((tag) => !isSayable(tag));

/** These, with what is not a spec's to say. */
export const tagsWith = (config: Configuration, tags: readonly string[]): string =>
  [...tags, ...unsayableTags(config), ...tagsOf(config).filter(isMarkTag)].join(';');
