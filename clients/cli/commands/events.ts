import { DroverError } from '#shared/errors.ts';
import type { Event } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { command } from '../command.ts';
import { jsonText } from '../output.ts';
import { escapeControls } from '../terminal.ts';
import { eventLine } from '../views.ts';

export const events = command({
  name: 'events',
  summary: 'What happened, oldest first',
  options: [
    { flags: '--since <revision>', help: 'only after this revision', default: '0' },
    { flags: '-f, --follow', help: 'go on with new ones' },
  ],
  examples: ['events', 'events --since 120', 'events -f -o json'],
  async run({ options }, context) {
    const since = String(options['since']);
    if (!/^\d{1,15}$/.test(since)) throw new DroverError('invalid-argument', `"${since}" is not a revision`);
    const { fleet, messages } = await context.connect();
    const { project, output } = context.global;
    const follow = options['follow'] === true;
    const stream = fleet.listEvents(
      { project, sinceRevision: BigInt(since), follow },
      { signal: context.signal },
    );
    const found: Event[] = [];
    for await (const event of stream) {
      if (!follow) found.push(event);
      else if (output === 'json' || output === 'yaml')
        context.terminal.print(jsonText(messages.Event.toJSON(event)));
      else context.terminal.print(escapeControls(eventLine(event)));
    }
    if (follow) return { exitCode: 0 };
    return {
      data: found.map(messages.Event.toJSON),
      names: found.map(({ revision }) => `${revision}`),
      text: () => found.map((event) => escapeControls(eventLine(event))).join('\n'),
    };
  },
});
