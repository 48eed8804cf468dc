/** Recorded exchanges with real clusters: test/golden/proxmox-<version>/<flow>.json. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { ProxmoxVersion } from './world.ts';

export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly params: Readonly<Record<string, unknown>> | null;
  readonly encoding: 'none' | 'query' | 'form' | 'json' | 'multipart';
  readonly endpoint: string;
  readonly auth: string;
  readonly format?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly rawBody?: string;
  readonly files?: readonly {
    readonly field: string;
    readonly filename: string;
    readonly contentType: string;
    readonly size: number;
    readonly sha256: string;
  }[];
}

export interface Exchange {
  readonly step: string;
  readonly before?: string;
  readonly request: RecordedRequest;
  /** Null where no answer came. */
  readonly response: {
    readonly status: number;
    readonly reason: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: unknown;
  } | null;
  readonly elapsedMs: number;
  readonly atMs: number;
  readonly repeated?: number;
  readonly lastAtMs?: number;
  readonly concurrentGroup?: string;
}

export interface Recording {
  readonly version: ProxmoxVersion;
  readonly flow: string;
  readonly exchanges: readonly Exchange[];
}

const golden = path.resolve(import.meta.dirname, '../../golden');

export const recordedFlows = (version: ProxmoxVersion): string[] =>
  readdirSync(path.join(golden, `proxmox-${version}`))
    .map((file) => file.replace('.json', ''))
    .sort();

export const readRecording = (version: ProxmoxVersion, flow: string): Recording =>
  JSON.parse(readFileSync(path.join(golden, `proxmox-${version}`, `${flow}.json`), 'utf8')) as Recording;
