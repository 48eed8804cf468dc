import { readFile } from 'node:fs/promises';
import { DroverError } from '#shared/errors.ts';
import type { ClusterCredential, ClusterTrust } from '#shared/gen/drover/fleet/v1/cluster.ts';
import {
  type CommandContext,
  type OptionSpec,
  type OptionValues,
  command,
  manyOption,
  textOption,
} from '../command.ts';
import { statusFields } from '../cluster-views.ts';
import { confirm } from '../confirm.ts';
import { describeText } from '../output.ts';
import { readSecret } from '../read-secret.ts';

/** Every endpoint may have to be waited for. */
const deadlineMs = 120_000;

const access: readonly OptionSpec[] = [
  { flags: '--endpoint <host:port>', help: 'address of a node; the others are learned from it', many: true },
  {
    flags: '--token-id <id>',
    help: "API token: 'drover@pve!fleet'; its secret is read, never typed as an option",
  },
  { flags: '--token-file <path>', help: 'file with the secret of the token; "-" is standard input' },
  { flags: '--user <user>', help: 'instead of a token: "drover@pve"' },
  { flags: '--password-file <path>', help: 'file with the password; "-" is standard input' },
  { flags: '--ca <path>', help: 'authority that signed the certificates: /etc/pve/pve-root-ca.pem' },
  { flags: '--fingerprint <sha256>', help: 'of the certificate of a node', many: true },
  { flags: '--accept-missing-rights', help: 'go on where some rights are missing' },
];

export const clusterAdd = command({
  name: 'cluster add',
  summary: 'Make a Proxmox VE cluster part of the fleet',
  arguments: [{ name: '<cluster>', help: 'what it is to be called; its nodes are named after it' }],
  options: access,
  examples: [
    "cluster add lab --endpoint 10.0.0.11 --token-id 'drover@pve!fleet' --ca pve-root-ca.pem",
    "cluster add lab --endpoint 10.0.0.11:8006 --token-id 'drover@pve!fleet' --token-file - < secret",
    'cluster add lab --endpoint pve1 --user drover@pve --password-file password --fingerprint AB:CD:…',
  ],
  async run({ args: [name = ''], options }, context) {
    const endpoints = [...manyOption(options, 'endpoint')];
    if (endpoints.length === 0)
      throw new DroverError('invalid-argument', 'where is it? wanted --endpoint HOST or HOST:PORT', {
        nextStep: 'name one of its nodes: the others are learned from it',
      });
    const pinned = await readTrust(options);
    if (pinned === undefined) refuseToTrustUnasked(context);
    const credential = await readCredential(options, context);
    if (credential === undefined)
      throw new DroverError('invalid-argument', 'as whom? wanted --token-id ID or --user USER', {
        nextStep: 'docs/proxmox.md has the lines that make a token',
      });
    const trust = pinned ?? (await askForTrust(name, endpoints, context));
    const { clusters, clusterMessages } = await context.connect();
    const acceptMissingRights = options['acceptMissingRights'] === true;
    const request = { name, endpoints, trust, credential, acceptMissingRights };
    const response = await clusters.addCluster(request, { deadlineMs });
    context.terminal.note(`cluster ${name}: added`);
    return {
      data: clusterMessages.AddClusterResponse.toJSON(response),
      names: [name],
      text: () => describeText([['Name', name], ...statusFields(response.cluster?.status)]),
      next: 'drover get nodes; drover get guests',
    };
  },
});

export const clusterUpdate = command({
  name: 'cluster update',
  summary: 'Give a cluster other addresses, another certificate or another credential',
  arguments: [{ name: '<cluster>', help: 'its name', completes: 'cluster' }],
  options: [
    ...access,
    {
      flags: '--new-certificate',
      help: 'show the certificates that it has now, and ask whether to trust them',
    },
  ],
  examples: [
    "cluster update lab --token-id 'drover@pve!second' --token-file secret",
    'cluster update lab --fingerprint AB:CD:… --fingerprint EF:01:…',
    'cluster update lab --new-certificate',
  ],
  async run({ args: [name = ''], options }, context) {
    const endpoints = [...manyOption(options, 'endpoint')];
    const asks = options['newCertificate'] === true;
    if (asks) refuseToTrustUnasked(context);
    const pinned = await readTrust(options);
    const credential = await readCredential(options, context);
    const { clusters, clusterMessages } = await context.connect();
    const trust = asks && pinned === undefined ? await askAnew(name, endpoints, context) : pinned;
    const acceptMissingRights = options['acceptMissingRights'] === true;
    const request = { name, endpoints, trust, credential, acceptMissingRights };
    const response = await clusters.updateCluster(request, { deadlineMs });
    context.terminal.note(`cluster ${name}: changed`);
    return {
      data: clusterMessages.UpdateClusterResponse.toJSON(response),
      names: [name],
      text: () => describeText([['Name', name], ...statusFields(response.cluster?.status)]),
    };
  },
});

/** Undefined: nothing is said of it. */
async function readTrust(options: OptionValues): Promise<ClusterTrust | undefined> {
  const file = textOption(options, 'ca');
  const fingerprints = [...manyOption(options, 'fingerprint')];
  if (file !== undefined && fingerprints.length > 0)
    throw new DroverError('invalid-argument', 'by what is it known? wanted --ca or --fingerprint, not both');
  if (fingerprints.length > 0) return { authorityPem: '', fingerprints };
  if (file === undefined) return undefined;
  const authorityPem = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new DroverError('not-found', `cannot read ${file}: ${(cause as Error).message}`, {
      cause,
      nextStep: 'copy /etc/pve/pve-root-ca.pem from one of its nodes',
    });
  });
  return { authorityPem, fingerprints: [] };
}

/** Undefined: nothing is said of it. The secret itself is never an option: every user could read it. */
async function readCredential(
  options: OptionValues,
  context: CommandContext,
): Promise<ClusterCredential | undefined> {
  const tokenId = textOption(options, 'tokenId');
  const user = textOption(options, 'user');
  const none = { tokenId: '', tokenSecret: '', user: '', password: '' };
  if (tokenId !== undefined && user !== undefined)
    throw new DroverError('invalid-argument', 'as whom? wanted --token-id or --user, not both');
  if (tokenId !== undefined) {
    if (tokenId.includes('='))
      throw new DroverError('invalid-argument', 'the id of a token ends before the "="', {
        nextStep:
          'the secret goes into a file, or to standard input; this one was seen by others: make a new one',
      });
    const tokenSecret = await readSecret(
      'the secret of the token',
      textOption(options, 'tokenFile'),
      context,
    );
    return { ...none, tokenId, tokenSecret };
  }
  if (user === undefined) return undefined;
  const password = await readSecret('the password', textOption(options, 'passwordFile'), context);
  return { ...none, user, password };
}

/** A yes to everything must not be a yes to whoever answers. */
function refuseToTrustUnasked({ global, terminal }: CommandContext): void {
  const canBeAsked = global.input && terminal.inIsTty && terminal.errIsTty;
  if (!global.yes && canBeAsked) return;
  throw new DroverError('invalid-argument', 'nobody looks at its certificate here, so it must be named', {
    reason: 'not-trusted',
    nextStep: '--ca FILE, or --fingerprint SHA256 for each node: pvenode cert info tells it there',
  });
}

async function askForTrust(
  name: string,
  endpoints: readonly string[],
  context: CommandContext,
): Promise<ClusterTrust> {
  const { clusters } = await context.connect();
  const shown = await Promise.all(
    endpoints.map((endpoint) => clusters.showFingerprint({ endpoint }, { deadlineMs: 20_000 })),
  );
  for (const { endpoint, fingerprint } of shown)
    context.terminal.note(`${endpoint} shows a certificate with the SHA-256 fingerprint\n  ${fingerprint}`);
  context.terminal.note('compare it with what the node itself says: pvenode cert info');
  await confirm(`trust ${shown.length === 1 ? 'it' : 'them'}`, name, context);
  return { authorityPem: '', fingerprints: [...new Set(shown.map(({ fingerprint }) => fingerprint))] };
}

/** Of the addresses that are given, else of all that are known. */
async function askAnew(
  name: string,
  endpoints: readonly string[],
  context: CommandContext,
): Promise<ClusterTrust> {
  if (endpoints.length > 0) return askForTrust(name, endpoints, context);
  const { clusters } = await context.connect();
  const { cluster } = await clusters.getCluster({ name }, { deadlineMs: 10_000 });
  const learned = cluster?.status?.endpoints.map(({ address }) => address) ?? [];
  return askForTrust(name, learned.length > 0 ? learned : (cluster?.endpoints ?? []), context);
}
