import type { Template } from '#shared/gen/drover/fleet/v1/cluster.ts';
import { DroverError } from '#shared/errors.ts';
import { formatMib } from '#shared/units.ts';
import { type Column, command, textOption } from '../command.ts';
import { confirm } from '../confirm.ts';
import { table } from '../output.ts';

/** Copies of large disks take long; it is made, too, where nobody waits. */
const makeTimeoutMs = 3_600_000;
const removeTimeoutMs = 120_000;

export const templateCreate = command({
  name: 'template create',
  summary: 'Make a template of a guest of a cluster, ours or not; the guest stays as it is',
  arguments: [{ name: '<name>', help: 'of the template; specs name it proxmox:template/NAME' }],
  options: [
    {
      flags: '--from <source>',
      help: 'CLUSTER/VMID as get guests tells it, an instance, or a workload of one',
    },
    { flags: '--snapshot <name>', help: 'as it was then, by its name; a container that runs needs it' },
  ],
  examples: [
    'template create golden --from lab/105',
    'template create golden --from web-x7k2p --snapshot before',
  ],
  async run({ args: [name = ''], options }, context) {
    const source = textOption(options, 'from');
    if (source === undefined)
      throw new DroverError('invalid-argument', 'what is it to be made of? wanted --from SOURCE', {
        nextStep: `drover template create ${name} --from CLUSTER/VMID`,
      });
    const { clusters, clusterMessages } = await context.connect();
    const snapshot = textOption(options, 'snapshot') ?? '';
    const request = { project: context.global.project, source, name, snapshot };
    context.terminal.note(`template ${name}: being made of ${source}; it goes on if you leave`);
    const { template } = await clusters.createTemplate(request, {
      deadlineMs: makeTimeoutMs,
      signal: context.signal,
    });
    const called = `${template?.cluster ?? ''}/${template?.name ?? ''}`;
    context.terminal.note(`template ${called}: ready, VMID ${template?.vmid ?? 0}`);
    return {
      data: template === undefined ? {} : clusterMessages.Template.toJSON(template),
      names: [called],
      text: () => '',
      next: `name it in a spec: image: proxmox:template/${name}`,
    };
  },
});

export const templateList = command({
  name: 'template list',
  summary: 'List templates of clusters, with the image that specs name',
  options: [{ flags: '--cluster <name>', help: 'only those of this cluster' }],
  examples: ['template list', 'template list --cluster lab'],
  async run({ options }, context) {
    const { clusters, clusterMessages } = await context.connect();
    const cluster = textOption(options, 'cluster') ?? '';
    const templates: Template[] = [];
    for await (const each of clusters.listTemplates({ cluster }, { signal: context.signal }))
      templates.push(each);
    return {
      data: templates.map((each) => ({
        ...(clusterMessages.Template.toJSON(each) as object),
        image: imageOf(each, templates),
      })),
      names: templates.map(({ cluster: of, vmid }) => `${of}/${vmid}`),
      text: ({ wide }) =>
        templates.length === 0 ? 'no templates in any cluster' : table(templates, columns(templates), wide),
    };
  },
});

export const templateRemove = command({
  name: 'template remove',
  summary: 'Remove a template that template create made, with its disks',
  arguments: [{ name: '<template>', help: 'CLUSTER/NAME or CLUSTER/VMID' }],
  examples: ['template remove lab/golden --yes'],
  async run({ args: [called = ''] }, context) {
    const [, cluster, template] = /^([^/]+)\/([^/]+)$/.exec(called) ?? [];
    if (cluster === undefined || template === undefined)
      throw new DroverError('invalid-argument', `wanted CLUSTER/NAME or CLUSTER/VMID, found "${called}"`, {
        nextStep: 'drover template list',
      });
    await confirm(`remove the template ${called} and its disks`, called, context);
    const { clusters, clusterMessages } = await context.connect();
    const request = { cluster, template };
    const response = await clusters.removeTemplate(request, { deadlineMs: removeTimeoutMs });
    context.terminal.note(`template ${called}: removed`);
    return {
      data: clusterMessages.RemoveTemplateResponse.toJSON(response),
      names: [called],
      text: () => '',
    };
  },
});

const columns = (templates: readonly Template[]): Column<Template>[] => [
  { title: 'CLUSTER', value: ({ cluster }) => cluster },
  { title: 'VMID', value: ({ vmid }) => `${vmid}` },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'NAME', value: ({ name }) => name },
  { title: 'NODE', value: ({ node }) => node || '-' },
  { title: 'DISK', value: ({ diskMib }) => (diskMib === 0 ? '-' : formatMib(diskMib)) },
  { title: 'MADE BY', value: ({ own }) => (own ? 'drover' : '-') },
  { title: 'STATE', value: ({ state, message }) => (message === '' ? state : `${state}: ${message}`) },
  { title: 'IMAGE', value: (each) => (each.state === 'ready' ? imageOf(each, templates) : '-') },
  { title: 'TAGS', value: ({ tags }) => tags.join(','), wide: true },
];

/** By its name, where that says which: of two with one name, or a name that is a number, by its VMID. */
function imageOf({ cluster, vmid, kind, name }: Template, templates: readonly Template[]): string {
  const same = templates.filter((other) => other.cluster === cluster && other.name === name);
  const isClear = same.filter((other) => other.kind === kind).length === 1;
  return `proxmox:template/${name !== '' && isClear && !/^\d+$/.test(name) ? name : vmid}`;
}
