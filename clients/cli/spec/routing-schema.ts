import { section, text } from './schema-parts.ts';

const matcher = (what: string): object => ({
  anyOf: [
    text(`${what}, as it is.`),
    {
      ...section(`${what}; one of them.`, {
        exact: text('The whole text.'),
        glob: text('"*" stands for any text, "?" for one character.'),
        regex: text('RE2 syntax, against the whole text.'),
      }),
      minProperties: 1,
      maxProperties: 1,
    },
  ],
});

/** A file of routing rules. */
export const routingSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Drover routing rules',
  description: 'Which runtime a workload gets that names none. The first rule that matches decides.',
  type: 'object',
  required: ['kind', 'rules'],
  additionalProperties: false,
  properties: {
    kind: { const: 'Routing', description: 'What the document describes.' },
    default: text('Where no rule matches; "crun" where left out.'),
    rules: {
      type: 'array',
      description: 'In their order.',
      items: {
        ...section('All that are given must match.', {
          name: text('Unique among the rules.'),
          workload: matcher("The workload's name"),
          labels: {
            type: 'object',
            description: 'By key; a label that is missing does not match.',
            additionalProperties: matcher("The label's value"),
          },
          image: matcher('The image as written'),
          runtime: text('"crun", "lxc", "proxmox-lxc" or "proxmox-vm".'),
        }),
        required: ['name', 'runtime'],
      },
    },
  },
} as const;
