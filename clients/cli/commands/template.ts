import type { Guest } from '#shared/gen/drover/fleet/v1/cluster.ts';
import { formatMib } from '#shared/units.ts';
import { type Column, command, textOption } from '../command.ts';
import { table } from '../output.ts';

export const templateList = command({
  name: 'template list',
  summary: 'List templates of clusters, with the image that specs name',
  options: [{ flags: '--cluster <name>', help: 'only those of this cluster' }],
  examples: ['template list', 'template list --cluster lab'],
  async run({ options }, context) {
    const { clusters, clusterMessages } = await context.connect();
    const cluster = textOption(options, 'cluster') ?? '';
    const templates: Guest[] = [];
    for await (const guest of clusters.listGuests({ cluster }, { signal: context.signal }))
      if (guest.template) templates.push(guest);
    return {
      data: templates.map((guest) => ({
        ...(clusterMessages.Guest.toJSON(guest) as object),
        image: imageOf(guest, templates),
      })),
      names: templates.map(({ cluster: of, vmid }) => `${of}/${vmid}`),
      text: ({ wide }) =>
        templates.length === 0 ? 'no templates in any cluster' : table(templates, columns(templates), wide),
    };
  },
});

const columns = (templates: readonly Guest[]): Column<Guest>[] => [
  { title: 'CLUSTER', value: ({ cluster }) => cluster },
  { title: 'VMID', value: ({ vmid }) => `${vmid}` },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'NAME', value: ({ name }) => name },
  { title: 'NODE', value: ({ node }) => node },
  { title: 'DISK', value: ({ diskMib }) => formatMib(diskMib) },
  { title: 'IMAGE', value: (guest) => imageOf(guest, templates) },
  { title: 'TAGS', value: ({ tags }) => tags.join(','), wide: true },
];

/** By its name, where that says which: of two with one name, or a name that is a number, by its VMID. */
function imageOf({ cluster, vmid, kind, name }: Guest, templates: readonly Guest[]): string {
  const same = templates.filter((other) => other.cluster === cluster && other.name === name);
  const isClear = same.filter((other) => other.kind === kind).length === 1;
  return `proxmox:template/${name !== '' && isClear && !/^\d+$/.test(name) ? name : vmid}`;
}
