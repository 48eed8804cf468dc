import type { CommandContext } from './command.ts';
import { isAsked } from './confirm.ts';

export const destroyAdopted = {
  flags: '--destroy-adopted',
  help: 'also guests that were adopted, with their disks; drover release keeps them',
} as const;

/** Guests of a workload that Drover did not make: "lab/101". Not asked for where nobody would be told. */
export async function adoptedGuests(name: string, context: CommandContext): Promise<readonly string[]> {
  if (!isAsked(context)) return [];
  const { fleet } = await context.connect();
  const { project } = context.global;
  const { workload } = await fleet.getWorkload({ name, project }, { deadlineMs: 30_000 });
  return workload?.status?.adoptedGuests ?? [];
}

/** The end of a question. */
export const withAdopted = (guests: readonly string[], name: string): string =>
  `${guests.join(', ')} with all its disks, which was adopted: Drover did not make it, and ` +
  `drover release ${name} keeps it`;
