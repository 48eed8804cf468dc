import { mkdirSync, statSync, truncateSync, watch, type FSWatcher } from 'node:fs';
import { asDroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { DriverContext } from './driver.ts';
import { namesIn } from './guest-files.ts';
import { monitorLives, readRecord, type LxcView } from './lxc-state.ts';

export interface LxcWatch {
  subscribe(callback: (id: InstanceId) => void): () => void;
  close(): void;
}

const checkEveryMs = 5000;
/** Each boot of a guest writes some 15 KiB. */
const maxMonitorLogBytes = 1024 * 1024;

/**
 * Tells when a guest may have changed by itself: the monitors write to logs in one directory, and a guest
 * without a monitor, for which nobody writes, is looked at now and then. Begins with the first reader.
 */
export function watchLxcGuests({ clock, log }: DriverContext, view: LxcView): LxcWatch {
  const { paths, payload } = view;
  const callbacks = new Set<(id: InstanceId) => void>();
  const orphans = new Map<string, boolean>();
  let watcher: FSWatcher | undefined;
  let endTimer = (): void => {};

  const tell = (name: string): void => {
    for (const callback of callbacks) callback(name as InstanceId);
  };
  function checkOne(id: InstanceId): void {
    if (readRecord(view, id) === undefined) return;
    const isAlive = payload.processes(id).length > 0;
    const isOrphan = !monitorLives(view, id);
    if (isOrphan && orphans.get(id) !== isAlive) tell(id);
    if (isOrphan) orphans.set(id, isAlive);
    else orphans.delete(id);
    if (!isOrphan && isAlive) shorten(paths.of(id).monitorLog);
  }
  function check(): void {
    for (const id of namesIn(paths.guests).filter(isName) as InstanceId[]) {
      try {
        checkOne(id);
      } catch (error) {
        // Whatever is wrong with one is none of the others' matter, and not the agent's end.
        log.error({ event: 'guest.unseen', instanceId: id, err: asDroverError(error) });
      }
    }
    for (const id of orphans.keys()) if (!namesIn(paths.guests).includes(id)) orphans.delete(id);
  }
  function begin(): void {
    mkdirSync(paths.monitorLogs, { recursive: true, mode: 0o700 });
    watcher = watch(paths.monitorLogs, { persistent: false }, (_, file) => {
      const name = /^(.*)\.(log|memory)$/.exec(file ?? '')?.[1] ?? '';
      if (isName(name)) tell(name);
    });
    endTimer = clock.every(checkEveryMs, check);
  }
  function end(): void {
    watcher?.close();
    watcher = undefined;
    endTimer();
    endTimer = () => {};
  }

  return {
    subscribe(callback) {
      if (callbacks.size === 0) begin();
      callbacks.add(callback);
      return () => {
        callbacks.delete(callback);
        if (callbacks.size === 0) end();
      };
    },
    close() {
      callbacks.clear();
      end();
    },
  };
}

/** The monitor appends, so it goes on at the new end; what it said of a living guest nobody needs. */
function shorten(file: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size > maxMonitorLogBytes) truncateSync(file, 0);
}

const isName = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,40}$/.test(name);
