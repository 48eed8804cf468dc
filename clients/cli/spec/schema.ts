import { guestSchema } from './guest-schema.ts';
import { duration, section, size, stringMap, text } from './schema-parts.ts';

/**
 * The JSON schema of a workload file: what editors and the command line check. docs/workload.schema.json is
 * its copy.
 */
export const workloadSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Drover workload',
  description: 'What should run, in how many copies, and where.',
  type: 'object',
  required: ['kind', 'name', 'image'],
  additionalProperties: false,
  properties: {
    kind: { const: 'Workload', description: 'What the document describes.' },
    name: text(
      '1 to 40 of a-z, 0-9 and "-", neither first nor last "-"; unique in its project.',
      '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$',
    ),
    project: { const: 'default', description: 'The only project for now.' },
    labels: stringMap('For people and selectors.'),
    annotations: stringMap('Free text for tools; never interpreted.'),
    image: text(
      '"registry.example/web:1.4", "registry.example/web@sha256:…", "oci:/path" or "tar:/path" on the ' +
        'nodes, "https://host/rootfs.tar.xz@sha256:…", "lxc:server/debian/12", or ' +
        '"proxmox:storage:vztmpl/name".',
    ),
    imageCredential: text('Name of a registry credential that the nodes hold.'),
    runtime: text('What runs it: "crun", "lxc", "proxmox-lxc" or "proxmox-vm". May be left out.'),
    replicas: { type: 'integer', minimum: 0, maximum: 1000, default: 1, description: 'Copies wanted.' },
    command: {
      type: 'array',
      items: { type: ['string', 'number', 'boolean'] },
      examples: [['/bin/httpd', '-f']],
      description: "Program and arguments, without a shell; the image's own where left out.",
    },
    env: stringMap("Added to the image's environment."),
    user: text('"uid", "uid:gid" or a name from the image.'),
    workingDir: text('Absolute directory inside.'),
    resources: section('What one copy may use. What is left out is not limited.', {
      cpu: { type: ['string', 'number'], examples: ['500m'], description: 'Share of cores: "500m" or "2".' },
      memory: size('Hard limit: "256MiB".', '256MiB'),
      disk: size('Size of the root: "2GiB". Reserved; not enforced where the node cannot.', '2GiB'),
      pids: {
        type: 'integer',
        minimum: 1,
        maximum: 4194304,
        default: 4096,
        description: 'Processes and threads.',
      },
    }),
    network: {
      enum: ['none', 'host', 'bridged'],
      default: 'none',
      description: 'Loopback alone, the network of the host, or those of networks, which says so by itself.',
    },
    ...guestSchema,
    restart: section('When the agent starts it again.', {
      policy: {
        enum: ['never', 'on-failure', 'always'],
        default: 'always',
        description: 'After which exits.',
      },
      maxAttempts: {
        type: 'integer',
        minimum: 0,
        default: 0,
        description: 'Starts before giving up; 0: no limit.',
      },
    }),
    placement: section('Where copies may go.', {
      require: {
        type: 'array',
        items: { type: 'string' },
        description: 'Label selectors; all must hold: "zone in (a, b)", "disk = ssd", "gpu", "!spot".',
      },
      strategy: {
        enum: ['spread', 'bin-pack'],
        default: 'spread',
        description: 'Far apart, or closely packed.',
      },
    }),
    update: section('How a change replaces the copies: one at a time.', {
      readyAfter: duration('How long a copy must have run to count as ready.'),
    }),
    stop: section('How a copy is stopped.', {
      grace: duration('Time between the polite signal and the kill.'),
    }),
  },
} as const;
