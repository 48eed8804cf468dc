import { isKind } from '#shared/errors.ts';
import { createArgs, destroyArgs } from './zfs-features.ts';
import { mark } from './zfs-marks.ts';
import type { ZfsTool } from './zfs-tool.ts';

/** Some room that is kept back, so that marks and sizes can still be set when the pool is full. */
export interface ZfsReserve {
  /** Has it again, where there is room. */
  ensure(signal: AbortSignal): Promise<void>;
  /** A change that must work on a full pool too: gives the reserve up for it. */
  change(args: readonly string[], signal: AbortSignal): Promise<void>;
}

const reserveMib = 16;

export function createZfsReserve(parent: string, tool: ZfsTool): ZfsReserve {
  const name = `${parent}/reserve`;
  return {
    async ensure(signal) {
      if ((await tool.get([name], ['type'], 0, signal)).size > 0) return;
      const room = await tool.get([parent], ['available'], 0, signal);
      if (Number(room.get(parent)?.value('available')) < 4 * reserveMib * 1024 * 1024) return;
      const shut = ['mountpoint=none', 'canmount=off'];
      const pairs = [...shut, `refreservation=${reserveMib}M`, `${mark.kind}=reserve`];
      await tool.change(createArgs(name, pairs), signal);
    },
    async change(args, signal) {
      try {
        await tool.change(args, signal);
      } catch (error) {
        if (!isKind(error, 'resource-exhausted')) throw error;
        const found = await tool.get([name], [mark.kind], 0, signal);
        if (found.get(name)?.local(mark.kind) !== 'reserve') throw error;
        await tool.changeBusy(destroyArgs(name), name, signal);
        await tool.change(args, signal);
      }
    },
  };
}
