/** What the drive of cloud-init was made with, where the configuration says something else by now. */
import { cloudInitKeys, isCloudInitKey, renderQemuValue } from './qemu-config.ts';
import type { Guest } from './world.ts';

/** Undefined: it said nothing of it. */
type Section = Map<string, string | undefined>;

const sections = new WeakMap<Guest, Section>();

/** Before the value of a machine that runs is changed. */
export function noteForDrive(guest: Guest, key: string): void {
  if (!isCloudInitKey(key) || guest.status !== 'running') return;
  const section: Section = sections.get(guest) ?? new Map();
  if (!section.has(key)) section.set(key, guest.config[key]);
  sections.set(guest, section);
}

/** It is made anew, with what the configuration says. */
export const makeDriveAnew = (guest: Guest): boolean => sections.delete(guest);

/** As GET cloudinit lists it. */
export function cloudInitRows(guest: Guest): Record<string, unknown>[] {
  const section: Section = sections.get(guest) ?? new Map();
  return cloudInitKeys.flatMap((key): Record<string, unknown>[] => {
    const now = guest.config[key];
    const value = (text: string) => renderQemuValue(key, text);
    const before = section.get(key);
    if (!section.has(key)) return now === undefined ? [] : [{ key, value: value(now) }];
    if (now === undefined) return before === undefined ? [] : [{ key, delete: 1 }];
    return [{ key, ...(before !== undefined && { value: value(before) }), pending: value(now) }];
  });
}
