/** Locks on files, as flock gives them: one holder, others wait in order and at most so long. */
import type { Clock } from '#shared/clock.ts';

export const lxcLockFile = (vmid: number | string): string => `/run/lock/lxc/pve-config-${vmid}.lock`;
export const qemuLockFile = (vmid: number | string): string => `/var/lock/qemu-server/lock-${vmid}.conf`;

export interface FileLocks {
  /**
   * Gives the release. `onWait` is called where somebody else holds the lock; after ten virtual seconds, or
   * `withinMs`, throws "can't lock file '…' - got timeout". Locks are per node: give its name.
   */
  acquire(node: string, file: string, onWait?: () => void, withinMs?: number): Promise<() => void>;
  /** As acquire, together with all others that share it. */
  share(node: string, file: string, onWait?: () => void): Promise<() => void>;
  held(node: string, file: string): boolean;
  /** All locks of a node go with it. */
  forget(node: string): void;
}

interface Waiter {
  readonly grant: (release: () => void) => void;
}

const lockTimeoutMs = 10_000;

export function createFileLocks(clock: Clock): FileLocks {
  const queues = new Map<string, Waiter[]>();

  function release(key: string, queue: Waiter[]): () => void {
    let released = false;
    return () => {
      if (released || queues.get(key) !== queue) return;
      released = true;
      const next = queue.shift();
      if (next === undefined) queues.delete(key);
      else next.grant(release(key, queue));
    };
  }

  const shared = new Map<string, { holders: number; readonly lock: Promise<() => void> }>();

  function acquire(
    node: string,
    file: string,
    onWait?: () => void,
    withinMs = lockTimeoutMs,
  ): Promise<() => void> {
    const key = `${node} ${file}`;
    const queue = queues.get(key);
    if (queue === undefined) {
      const fresh: Waiter[] = [];
      queues.set(key, fresh);
      return Promise.resolve(release(key, fresh));
    }
    onWait?.();
    return new Promise((resolve, reject) => {
      const takeBack = clock.after(withinMs, () => {
        queue.splice(queue.indexOf(waiter), 1);
        reject(new Error(`can't lock file '${file}' - got timeout`));
      });
      const waiter: Waiter = {
        grant(free) {
          takeBack();
          resolve(free);
        },
      };
      queue.push(waiter);
    });
  }

  return {
    acquire,
    async share(node, file, onWait) {
      const key = `${node} ${file}`;
      const group = shared.get(key) ?? { holders: 0, lock: acquire(node, file, onWait) };
      shared.set(key, group);
      group.holders += 1;
      let isIn = true;
      const isLast = (): boolean => {
        if (isIn) group.holders -= 1;
        const last = isIn && group.holders === 0;
        isIn = false;
        if (last && shared.get(key) === group) shared.delete(key);
        return last;
      };
      try {
        const release = await group.lock;
        return () => (isLast() ? release() : undefined);
      } catch (error) {
        isLast();
        throw error;
      }
    },
    held: (node, file) => queues.has(`${node} ${file}`),
    forget(node) {
      for (const keys of [queues, shared])
        for (const key of keys.keys()) if (key.startsWith(`${node} `)) keys.delete(key);
    },
  };
}
