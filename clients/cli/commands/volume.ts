import { command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { get } from './get.ts';

export const volumeList = command({
  name: 'volume list',
  summary: 'List data volumes, as get volumes does',
  options: [{ flags: '-w, --workload <name>', help: 'only of this workload' }],
  examples: ['volume list', 'volume list -w db'],
  run: ({ options }, context) => get.run({ args: ['volumes'], options }, context),
});

export const volumeRemove = command({
  name: 'volume remove',
  summary: 'Remove a data volume that no instance has, with its snapshots',
  arguments: [{ name: '<volume>', help: 'its name', completes: 'volume' }],
  examples: ['volume remove db-data-0', 'volume remove db-data-0 --yes'],
  async run({ args: [volume = ''] }, context) {
    await confirm(`remove the volume ${volume} and all that is in it`, volume, context);
    const { fleet, messages } = await context.connect();
    const request = { project: context.global.project, volume };
    const response = await fleet.removeVolume(request, { deadlineMs: 30_000 });
    context.terminal.note(`volume ${volume}: removed`);
    return { data: messages.RemoveVolumeResponse.toJSON(response), names: [volume], text: () => '' };
  },
});
