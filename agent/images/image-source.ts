import type { Digest, Image } from '#shared/model.ts';
import type { IdRange } from '../volumes/volume-driver.ts';

export type { IdRange };

/**
 * What an image says of itself, checked: no NUL anywhere, an absolute directory, a user that could be read.
 */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** In the image's order, later ones win. */
  readonly env: Readonly<Record<string, string>>;
  /** As the image writes it; resolveUser turns it into numbers inside the root. Empty: root. */
  readonly user: string;
  readonly workingDir: string;
  /** Signal for a polite stop, by number; 15 where the image names none. */
  readonly stopSignal: number;
}

export interface PulledImage {
  /** Of the manifest for this node's platform. */
  readonly digest: Digest;
  /**
   * Unpacked for the range, never to be written to. Every directory above it lets others pass (o+x), but for
   * a range that begins at 0, which is the image's own ids: then only root comes there.
   */
  readonly rootfs: string;
  readonly config: ImageConfig;
  readonly sizeBytes: number;
}

export interface PullProgress {
  readonly step: 'resolving' | 'fetching' | 'unpacking' | 'ready';
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

/**
 * ImageSource fetches images and unpacks each once per id range.
 *
 * Calls may be repeated, also after a crash in the middle: what is half there is staged apart and begun anew.
 * Pulls of one digest join. Kinds: not-found (no such image, or none for this platform), permission-denied
 * (credentials), unavailable, deadline-exceeded, data-loss (not what the digest says), resource-exhausted (no
 * room, or above the limits for size and number of files), invalid-argument (not a reference; a hostile or
 * broken image). test/conformance/image-source.ts holds every source to this.
 */
export interface ImageSource {
  /** "oci", "lxc-template". */
  readonly name: string;
  /** Whether this source reads such references. */
  takes(reference: string): boolean;
  /** What a reference stands for now; an index where there is one. Fetches no layer. */
  resolve(
    reference: string,
    credential: string,
    signal: AbortSignal,
  ): Promise<{ digest: Digest; platforms: string[] }>;
  /** The reference has a digest. Resolves when the image is ready for the range. */
  pull(
    request: {
      readonly reference: string;
      readonly credential: string;
      readonly range: IdRange;
      readonly onProgress?: (progress: PullProgress) => void;
    },
    signal: AbortSignal,
  ): Promise<PulledImage>;
  /**
   * Removes what was fetched and unpacked of a digest. Succeeds when there is none; gives the bytes that are
   * free again. The caller has made sure that nothing is made from it; `isUsed` is asked once more when
   * nobody can find the image any more, and then it stays: failed-precondition.
   */
  remove(digest: Digest, signal: AbortSignal, isUsed?: () => boolean): Promise<number>;
  /** Ready for the range already, so that pull would fetch nothing; undefined otherwise. Spawns nothing. */
  find(reference: string, range: IdRange): Promise<PulledImage | undefined>;
  list(signal: AbortSignal): Promise<Image[]>;
}
