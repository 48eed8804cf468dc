/** Whether the guest agent of a machine is configured, and whether it answers. */
import { parseParts } from './guest-property.ts';
import type { Guest, World } from './world.ts';

/** How long a system takes to start its agent. */
const bootMs = 2000;

export function agentConfigured({ config }: Guest): boolean {
  const enabled = parseParts(config['agent'] ?? '0', 'enabled').get('enabled');
  return enabled === '1';
}

export const agentAnswers = (world: World, guest: Guest): boolean =>
  guest.inside.agent &&
  guest.status === 'running' &&
  guest.qmpStatus === 'running' &&
  world.clock.nowMs() - (guest.startedAtMs ?? 0) >= bootMs * world.pace;
