import { DroverError } from '#shared/errors.ts';
import type { NetworkSpec } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatTime } from '#shared/units.ts';
import { type CommandContext, type Result, command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { describeText } from '../output.ts';
import { labelsText } from '../views.ts';
import { get } from './get.ts';

export const networkList = command({
  name: 'network list',
  summary: 'List networks, as get networks does',
  examples: ['network list', 'network list -o wide'],
  run: (_call, context) => get.run({ args: ['networks'], options: {} }, context),
});

export const networkRemove = command({
  name: 'network remove',
  summary: 'Remove a network that no workload names',
  arguments: [{ name: '<network>', help: 'its name', completes: 'network' }],
  examples: ['network remove lan', 'network remove lan --yes'],
  async run({ args: [name = ''] }, context) {
    await confirm(`remove the network ${name}`, name, context);
    const { fleet, messages } = await context.connect();
    const request = { project: context.global.project, name };
    const response = await fleet.removeNetwork(request, { deadlineMs: 30_000 });
    context.terminal.note(`network ${name}: removed`);
    return { data: messages.RemoveNetworkResponse.toJSON(response), names: [name], text: () => '' };
  },
});

/** For describe. */
export async function networkText(name: string, context: CommandContext): Promise<Result> {
  const { fleet, messages } = await context.connect();
  const { project } = context.global;
  const { network } = await fleet.getNetwork({ project, name }, { deadlineMs: 10_000 });
  if (network === undefined) throw new DroverError('not-found', `no network ${name}`);
  const { metadata, spec, held, heldCount, free } = network;
  const more = heldCount > held.length ? [`… and ${heldCount - held.length} more`] : [];
  return {
    data: messages.Network.toJSON(network),
    names: [metadata?.name ?? name],
    text: () =>
      describeText([
        ['Name', metadata?.name ?? name],
        ...specFields(spec),
        ['Labels', labelsText(metadata?.labels)],
        ['Generation', `${metadata?.generation ?? 0}`],
        ['Created', metadata?.createdAtMs ? formatTime(Number(metadata.createdAtMs)) : ''],
        ['Free', spec?.nodePrivate ? 'each node gives out its own' : `${free}`],
        ['Held', [...held.map((one) => `${one.address}  ${one.instance}`), ...more].join('\n')],
      ]),
  };
}

function specFields(spec: NetworkSpec | undefined): (readonly [string, string])[] {
  const { dns } = spec ?? {};
  const subnets = spec?.subnets.map(({ cidr, gateway, first, last }) =>
    [cidr, gateway && `gateway ${gateway}`, `gives out ${first} to ${last}`].filter(Boolean).join(', '),
  );
  const yes = (flag: boolean | undefined): string => (flag ? 'yes' : '');
  return [
    ['Bridge', spec?.bridge || 'made by Drover'],
    ['Subnets', subnets?.join('\n') ?? ''],
    ['MTU', spec?.mtu ? `${spec.mtu}` : ''],
    ['VLAN', spec?.vlan ? `${spec.vlan}` : ''],
    ['Masquerade', yes(spec?.masquerade)],
    ['Node private', yes(spec?.nodePrivate)],
    ['Name servers', dns?.servers.join(', ') ?? ''],
    ['Search', dns?.search.join(', ') ?? ''],
    ['Routes', spec?.routes.map(({ destination, via }) => `${destination} via ${via}`).join('\n') ?? ''],
  ];
}
