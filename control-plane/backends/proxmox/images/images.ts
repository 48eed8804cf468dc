import { DroverError } from '#shared/errors.ts';
import type { Digest, Image, InstanceSpec } from '#shared/model.ts';
import { adoptedIdentity } from '../../../store/adopt-guest.ts';
import type { PullProgress } from '../../backend.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { type CopySource, createCopies } from './copies.ts';
import { createFetchImage } from './fetch-image.ts';
import type { PlacedImage } from '../guests/guest-kind.ts';
import { digestIn, identityOf, type ImageReference, parseImage, storedImage } from './image-references.ts';
import { findGuest } from '../observe/read-guests.ts';
import { createOciPull } from './oci-pull.ts';
import { isUpid } from '../tasks/upid.ts';
import { createStoredFiles, type StoredFile } from './stored-files.ts';
import { createTemplatePlaces } from './template-places.ts';

/** What guests of a cluster are made from, by what specs call it. */
export interface Images {
  /** Ready on a node to make a guest from; fetched where it is missing. not-found; failed-precondition. */
  place(
    kind: Kind,
    node: string,
    spec: Pick<InstanceSpec, 'image' | 'vm' | 'cluster' | 'rootPool'>,
    signal: AbortSignal,
  ): Promise<PlacedImage>;
  /** `kind`: what is to be made of it, where that is known: what it cannot be made from is not fetched. */
  resolve(
    node: string,
    reference: string,
    about: { readonly kind?: Kind; readonly credential: string },
    signal: AbortSignal,
  ): Promise<Digest>;
  list(node: string, signal: AbortSignal): AsyncIterable<Image>;
  pull(
    node: string,
    image: { readonly reference: string; readonly credential: string },
    signal: AbortSignal,
  ): AsyncIterable<PullProgress>;
  /** Bytes that are free again. failed-precondition: it is not ours to remove. */
  remove(node: string, digest: Digest, signal: AbortSignal): Promise<number>;
}

type Kind = 'lxc' | 'qemu';
type GuestReference = Extract<ImageReference, { readonly kind: 'guest' }>;
const words = { lxc: 'containers', qemu: 'virtual machines' } as const;

const notOurs = (what: string): DroverError =>
  new DroverError('failed-precondition', `${what} was not brought by Drover`, {
    nextStep: 'remove it in the cluster itself, if nobody needs it',
  });

function checkPinned(pinned: Digest | undefined, digest: Digest): void {
  if (pinned === undefined || pinned === digest) return;
  throw new DroverError('failed-precondition', `the image is another one by now: ${digest}`, {
    nextStep: 'apply the workload again, to take the one that is there',
  });
}

export function createImages(tools: ClusterTools): Images {
  const { api, tasks, memory, kinds, templateFiles, name: cluster } = tools;
  const files = createStoredFiles(tools);
  const fetchImage = createFetchImage(tools, files);
  const templates = createTemplatePlaces(tools);
  const oci = createOciPull(tools, files);
  const copyOf = createCopies(tools);

  function madeFrom(kind: Kind, image: string): DroverError {
    const wanted =
      kind === 'lxc'
        ? 'a root file system (vztmpl), an image of a registry or a template'
        : 'a disk (import), an ISO or a template';
    return new DroverError(
      'invalid-argument',
      `wanted ${wanted}, of which ${kinds[kind].runtime} is made, found ${image}`,
      { subject: { image }, nextStep: 'name another image, or another runtime' },
    );
  }

  function checkCredential(node: string, image: string, credential: string): void {
    if (credential === '') return;
    throw new DroverError(
      'unimplemented',
      `nodes of ${cluster} fetch images without a login: their API takes none`,
      {
        subject: { node, image },
        nextStep: `leave the credential ${credential} out, or bring the image as a file ("tar:/PATH")`,
      },
    );
  }

  async function storedFile(
    node: string,
    { storage, content, volid }: Extract<ImageReference, { kind: 'stored' }>,
    signal: AbortSignal,
  ): Promise<StoredFile> {
    const there = await files.on(node, storage, content, signal);
    const found = there.find((each) => each.volid === volid);
    if (found !== undefined) return found;
    throw new DroverError('not-found', `there is no ${volid} on ${node} of ${cluster}`, {
      subject: { image: volid, node },
      nextStep: 'upload it to that storage, or see what is there with `drover image list`',
    });
  }

  /** Of machines before containers, where no kind is said and both have that name. */
  function template(name: string, kind: Kind = 'qemu') {
    const all = memory.guests
      .filter((row) => row.template)
      .toSorted((a, b) => Number(b.kind === kind) - Number(a.kind === kind));
    const found = all.find((row) => String(row.vmid) === name) ?? all.find((row) => row.name === name);
    if (found !== undefined) return found;
    throw new DroverError('not-found', `there is no template ${name} in ${cluster}`, {
      subject: { cluster },
      nextStep: 'drover template list',
    });
  }

  async function digestOf(node: string, image: ImageReference, signal: AbortSignal): Promise<Digest> {
    switch (image.kind) {
      case 'stored':
        return storedImage(await storedFile(node, image, signal)).digest;
      case 'template': {
        const { vmid, diskBytes } = template(image.name);
        return identityOf(`${cluster}/${vmid}`, diskBytes);
      }
      case 'guest':
        return guestIdentity(image);
      case 'url':
        return image.digest;
      case 'file':
        return image.digest ?? templateFiles.digest(image.path);
      case 'oci':
        return storedImage(await oci.pull(node, image.reference, signal)).digest;
    }
  }

  /** Refused where guests of that kind cannot be copies of it, or the image was bound to the other one. */
  function templateFor(kind: Kind, name: string, pinned: Digest | undefined): CopySource {
    const { node, vmid, kind: found, diskBytes } = template(name, kind);
    const subject = { cluster, image: `proxmox:template/${name}` };
    checkKind(found, kind, `template ${name}`, subject);
    const digest = identityOf(`${cluster}/${vmid}`, diskBytes);
    if (pinned !== undefined && pinned !== digest && template(name).vmid !== vmid)
      throw new DroverError('invalid-argument', `templates of both kinds are called ${name}`, {
        subject,
        nextStep: `name it by its number: "proxmox:template/${vmid}"`,
      });
    checkPinned(pinned, digest);
    return { kind, node, vmid, snapshot: '' };
  }

  function checkKind(found: Kind, kind: Kind, what: string, subject: Readonly<Record<string, string>>): void {
    if (found === kind) return;
    throw new DroverError('invalid-argument', `${what} is one of ${words[found]}`, {
      subject,
      nextStep: `say "runtime: ${kinds[found].runtime}", or name one of ${words[kind]}`,
    });
  }

  const guestIdentity = ({ vmid, snapshot }: GuestReference): Digest =>
    identityOf(`${cluster}/guest/${vmid}${snapshot === '' ? '' : `@${snapshot}`}`, 0);

  /** Anew, since guests come and go, and move. */
  async function guestFor(
    kind: Kind,
    image: GuestReference,
    pinned: Digest | undefined,
    signal: AbortSignal,
  ): Promise<CopySource> {
    const { vmid, snapshot } = image;
    const subject = { cluster, vmid: String(vmid), acted: 'no' };
    const row = await findGuest(tools, vmid, signal);
    checkKind(row.kind, kind, `guest ${vmid}`, subject);
    if (pinned === adoptedIdentity(cluster, vmid))
      throw new DroverError('failed-precondition', `guest ${vmid} was adopted: nothing takes its place`, {
        subject,
        nextStep: `delete its workload; then \`drover adopt ${cluster}/${vmid}\`, or clone it`,
      });
    checkPinned(pinned, guestIdentity(image));
    return { kind, node: row.node, vmid, snapshot };
  }

  async function placed(
    node: string,
    image: Exclude<ImageReference, { readonly kind: 'template' | 'guest' }>,
    pinned: Digest | undefined,
    signal: AbortSignal,
  ): Promise<PlacedImage> {
    const digest = await digestOf(node, image, signal);
    if (image.kind === 'oci' && pinned !== undefined && pinned !== digest)
      throw oci.otherDigest(image, digest);
    checkPinned(pinned, digest);
    if (image.kind === 'oci')
      return { kind: 'template', volid: (await oci.pull(node, image.reference, signal)).volid };
    const { volid, content } =
      image.kind === 'stored' ? image : await fetchImage(node, digest, image, signal);
    return { kind: content === 'vztmpl' ? 'template' : content, volid };
  }

  async function remove(node: string, digest: Digest, signal: AbortSignal): Promise<number> {
    let freedBytes = 0;
    const template = memory.guests.find(
      (row) => row.template && identityOf(`${cluster}/${row.vmid}`, row.diskBytes) === digest,
    );
    if (template !== undefined) throw notOurs(`template ${template.vmid}`);
    for await (const { storage, volid, sizeBytes } of files.all(node, signal)) {
      const found = storedImage({ volid, sizeBytes });
      if (found.digest !== digest) continue;
      if (!found.isOurs) throw notOurs(volid);
      const volume = { node, storage, volume: volid };
      const method = 'DELETE /nodes/{node}/storage/{storage}/content/{volume}';
      const upid = await api.call(method, volume, { signal });
      if (isUpid(upid)) await tasks.wait(upid, { signal });
      files.changed();
      freedBytes += sizeBytes;
    }
    return freedBytes;
  }

  return {
    async place(kind, node, spec, signal) {
      const { image } = spec;
      const wants = parseImage(image);
      if (wants.kind === 'template')
        return copyOf(templateFor(kind, wants.name, digestIn(image)), node, spec, signal);
      if (wants.kind === 'guest')
        return copyOf(await guestFor(kind, wants, digestIn(image), signal), node, spec, signal);
      // Nothing is pulled for a machine, which cannot be made from it.
      if (kind === 'qemu' && wants.kind === 'oci') throw madeFrom(kind, image);
      const found = await placed(node, wants, digestIn(image), signal);
      // Containers are made of root file systems, machines of everything else.
      if ((kind === 'lxc') === (found.kind === 'template')) return found;
      throw madeFrom(kind, image);
    },
    async resolve(node, reference, { kind, credential }, signal) {
      const image = parseImage(reference);
      if (kind === 'qemu' && image.kind === 'oci') throw madeFrom(kind, reference);
      checkCredential(node, reference, credential);
      const pinned = digestIn(reference);
      if (image.kind !== 'oci') return digestOf(node, image, signal);
      if (pinned === undefined)
        return storedImage(await oci.pullAnywhere(node, image.reference, signal)).digest;
      const there = await oci.find(node, image.reference, signal);
      if (there === undefined || storedImage(there).digest !== pinned)
        throw oci.otherDigest(image, undefined);
      return pinned;
    },
    async *list(node, signal) {
      for await (const { volid, sizeBytes, atMs } of files.glance(node, signal)) {
        const { digest, reference, isOurs } = storedImage({ volid, sizeBytes });
        yield {
          digest,
          references: [reference],
          sizeBytes,
          lastUsedAtMs: atMs,
          ready: true,
          usedBy: 0,
          pinned: !isOurs,
        };
      }
      yield* templates.on(node, signal);
    },
    async *pull(node, { reference, credential }, signal) {
      const image = parseImage(reference);
      checkCredential(node, reference, credential);
      const pinned = digestIn(reference);
      const digest = await digestOf(node, image, signal);
      if (image.kind === 'oci' && pinned !== undefined && pinned !== digest)
        throw oci.otherDigest(image, digest);
      yield { step: 'fetching', bytesDone: 0, bytesTotal: 0, done: false, digest };
      if (image.kind === 'url' || image.kind === 'file') await fetchImage(node, digest, image, signal);
      yield { step: 'ready', bytesDone: 0, bytesTotal: 0, done: true, digest };
    },
    remove,
  };
}
