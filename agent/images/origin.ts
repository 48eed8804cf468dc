import type { Digest } from '#shared/model.ts';
import type { Manifest } from './manifest.ts';

/**
 * Where one reference's content comes from. What it hands out has been checked against its digest: data-
 * loss.
 */
export interface ImageOrigin {
  /** The manifest or index with the digest, or what the reference's tag stands for. */
  readManifest(digest: Digest | undefined, signal: AbortSignal): Promise<string>;
  readConfig(digest: Digest, manifest: Manifest, signal: AbortSignal): Promise<string>;
  /** Writes an OCI layout with this one image under the tag `image`. */
  copy(
    image: { readonly digest: Digest; readonly manifest: Manifest },
    layout: string,
    signal: AbortSignal,
  ): Promise<void>;
}
