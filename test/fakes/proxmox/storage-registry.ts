/** Images that nodes pull from registries, from 9.1 on. */
import { refusal } from './failure.ts';
import type { Call, Routes } from './route.ts';
import { formatOf, needStorage, plainName } from './storage-paths.ts';

function pull(call: Call): string {
  const { world, node, parameters } = call;
  const { storage = '', reference = '', filename = reference } = parameters;
  const { id, type, path, content } = needStorage(world, storage, node);
  if (path === undefined) throw refusal(`can't upload to storage type '${type}', not a file based storage!`);
  if (!content.includes('vztmpl'))
    throw refusal(`storage '${id}' is not configured for content-type 'vztmpl'`);
  const name = `${plainName(filename)}.tar`;
  const volid = `${id}:vztmpl/${name}`;
  if (world.storages.find(volid, node) !== undefined)
    throw refusal(`refusing to override existing file '${name}'`);
  return call.fork('ociregistrypull', name, async (control) => {
    const archive = `oci-archive:${path}/template/cache/${name}.tmp.${control.pid}`;
    const image = world.internet.images.get(reference);
    await control.passes(500);
    if (image === undefined) {
      control.log(
        `time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://${reference}: manifest unknown"`,
      );
      throw new Error(`command 'skopeo copy docker://${reference} ${archive}' failed: exit code 1`);
    }
    control.log('Getting image source signatures', 'Writing manifest to image destination');
    world.storages.volumes(id, node).set(volid, {
      volid,
      content: 'vztmpl',
      format: formatOf('vztmpl', name),
      sizeBytes: image.bytes,
      usedBytes: image.bytes,
      createdAt: world.now(),
      image,
    });
  });
}

function listTags({ world, parameters }: Call): string[] {
  const { reference = '' } = parameters;
  const tags = [...world.internet.images.keys()]
    .filter((one) => one.slice(0, one.lastIndexOf(':')) === reference)
    .map((one) => one.slice(one.lastIndexOf(':') + 1));
  if (tags.length > 0) return tags;
  throw refusal(`command 'skopeo list-tags docker://${reference}' failed: exit code 1`);
}

export const registryRoutes: Routes = {
  'POST /nodes/{node}/storage/{storage}/oci-registry-pull': pull,
  'GET /nodes/{node}/query-oci-repo-tags': listTags,
};
