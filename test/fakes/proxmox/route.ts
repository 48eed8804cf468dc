/** What answers a call: a table of handlers by method and path, as the API names them. */
import type { Caller } from './caller.ts';
import type { TaskBody } from './task-engine.ts';
import type { World } from './world.ts';

export interface Call {
  /** Path, query and body in one, as text ("1" for true); checked by the schema before the handler runs. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The node that acts: that of the path, or the one that was asked where the path has none. */
  readonly node: string;
  /** The node whose API was called. */
  readonly endpoint: string;
  readonly caller: Caller;
  readonly world: World;
  /** Parts of an upload, once they are read. */
  readonly files: readonly UploadedFile[];
  /** 403 "Permission check failed (/vms/101, VM.Audit)" where one of the privileges is missing. */
  require(path: string, ...privileges: readonly string[]): void;
  /** 403 with the privileges joined by "|" where all of them are missing. */
  requireAny(path: string, ...privileges: readonly string[]): void;
  may(path: string, privilege: string): boolean;
  /** Forks a task of the caller on this node and gives its UPID: `call.fork('vzstart', vmid, body)`. */
  fork(type: string, id: string | number, body: TaskBody): string;
}

export interface UploadedFile {
  /** Of the part: "filename". */
  readonly name: string;
  readonly filename: string;
  readonly bytes: number;
  readonly sha256: string;
  /** The whole file where it is at most 1 MiB. */
  readonly content: Uint8Array;
}

/** Gives the `data` of the answer, or an Answer; throws ApiFailure, or an Error for a 500 with its message. */
export type Handler = (call: Call) => unknown;
/** By name: "GET /nodes/{node}/lxc". Rights that the schema declares are checked before the handler runs. */
export type Routes = Readonly<Record<string, Handler>>;

/** An answer with more than `data`: the total of a list. */
export class Answer {
  readonly data: unknown;
  readonly more: Readonly<Record<string, unknown>>;

  constructor(data: unknown, more: Readonly<Record<string, unknown>> = {}) {
    this.data = data;
    this.more = more;
  }
}

/** An answer that is no JSON: a log as text. */
export class TextAnswer {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}
