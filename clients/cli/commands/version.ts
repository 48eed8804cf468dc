import { isKind } from '#shared/errors.ts';
import type { GetFleetResponse } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { version, wireMinor } from '#shared/version.ts';
import { type Result, command } from '../command.ts';
import { describeText } from '../output.ts';

export const versionCommand = command({
  name: 'version',
  summary: 'Versions of this program and of the control plane',
  options: [{ flags: '--client', help: 'of this program alone' }],
  examples: ['version', 'version --client'],
  async run({ options }, context): Promise<Result> {
    const client = { version, wireMinor, node: process.version };
    if (options['client'] === true)
      return { data: { client }, names: [version], text: () => `drover ${version}` };
    const server = await askServer(context).catch((error: unknown) => {
      if (isKind(error, 'not-found')) return undefined;
      throw error;
    });
    return {
      data: {
        client,
        ...(server === undefined
          ? {}
          : { server: (await context.connect()).messages.GetFleetResponse.toJSON(server) }),
      },
      names: [version],
      text: () =>
        describeText([
          ['Client', `${version} on Node.js ${process.version}`],
          ['Server', server === undefined ? 'no context is selected' : server.version],
          ['Fleet', server === undefined ? '' : `${server.fleetId}, epoch ${server.fleetEpoch}`],
          ['You are', server?.caller ?? ''],
        ]),
    };
  },
});

async function askServer(context: Parameters<typeof versionCommand.run>[1]): Promise<GetFleetResponse> {
  const { fleet } = await context.connect();
  return fleet.getFleet({}, { deadlineMs: 5000 });
}
