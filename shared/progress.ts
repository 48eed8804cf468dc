/** How far a workload is; derived from it and its instances whenever somebody asks. */
export interface WorkloadStatus {
  readonly wanted: number;
  readonly running: number;
  readonly ready: number;
  readonly unplaced: number;
  readonly outdated: number;
  /** Empty until the present generation is resolved. */
  readonly imageDigest: string;
  readonly runtime: string;
  readonly runtimeBecause: string;
  readonly deleting: boolean;
  readonly message: string;
  readonly state: 'ready' | 'progressing' | 'blocked' | 'deleting';
}

/** How far an operation is; derived as a WorkloadStatus is. */
export interface OperationProgress {
  readonly done: number;
  readonly total: number;
  readonly message: string;
  /** What it waits for, for programs; empty while it goes on by itself. */
  readonly blockedBy: '' | 'unplaceable' | 'image' | 'guest-failed' | 'node-away';
}
