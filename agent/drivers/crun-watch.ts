import { mkdirSync, watch, type FSWatcher } from 'node:fs';
import { asDroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { DriverContext } from './driver.ts';
import { namesIn } from './guest-files.ts';
import { monitorLives, readRecord, type HostView } from './guest-state.ts';
import { rotateLog } from './logs.ts';

export interface CrunWatch {
  subscribe(callback: (id: InstanceId) => void): () => void;
  close(): void;
}

const monitorCheckMs = 5000;
const rotateCheckMs = 10_000;
const maxLogBytes = 16 * 1024 * 1024;

/**
 * Tells when a guest may have changed by itself: monitors write exit files into one directory, and a guest
 * without a monitor, for which nobody writes, is looked at now and then. Rotates logs on the way. Begins
 * with the first reader.
 */
export function watchCrunGuests({ clock, log }: DriverContext, host: HostView): CrunWatch {
  const { paths, cgroups } = host;
  const callbacks = new Set<(id: InstanceId) => void>();
  const orphans = new Map<string, boolean>();
  let watcher: FSWatcher | undefined;
  let endTimers: readonly (() => void)[] = [];

  const tell = (name: string): void => {
    for (const callback of callbacks) callback(name as InstanceId);
  };
  const known = (): InstanceId[] =>
    namesIn(paths.guests).filter(
      (name): name is InstanceId => isName(name) && readRecord(host, name as InstanceId) !== undefined,
    );
  function checkMonitors(): void {
    const ids = known();
    for (const id of ids) {
      try {
        if (monitorLives(host, id)) continue;
        const alive = cgroups.processes(id).length > 0;
        if (orphans.get(id) !== alive) tell(id);
        orphans.set(id, alive);
      } catch (error) {
        // Whatever is wrong with one is none of the others' matter, and not the agent's end.
        log.error({ event: 'guest.unseen', instanceId: id, err: asDroverError(error) });
      }
    }
    for (const id of orphans.keys()) if (!ids.includes(id as InstanceId)) orphans.delete(id);
  }
  async function rotateLogs(): Promise<void> {
    for (const id of known()) {
      const guest = paths.of(id);
      await rotateLog(guest.log, guest.control, maxLogBytes).catch((error: unknown) => {
        log.error({ event: 'log-rotation.failed', instanceId: id, err: asDroverError(error) });
      });
    }
  }
  function begin(): void {
    mkdirSync(paths.exits, { recursive: true, mode: 0o700 });
    watcher = watch(paths.exits, { persistent: false }, (_, name) => {
      if (name !== null && isName(name)) tell(name);
    });
    endTimers = [
      clock.every(monitorCheckMs, checkMonitors),
      clock.every(rotateCheckMs, () => void rotateLogs()),
    ];
  }
  function end(): void {
    watcher?.close();
    watcher = undefined;
    for (const endTimer of endTimers) endTimer();
    endTimers = [];
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

const isName = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,40}$/.test(name);
