/** The configuration file of a guest moves to another node, and with it what only that node knows. */
import type { Guest, World } from './world.ts';

export function moveConfig(_world: World, guest: Guest, target: string): void {
  guest.node = target;
}
