/** Storages and what lies on them. */
import { createHash } from 'node:crypto';
import { refusal } from './failure.ts';
import type { Call, Routes } from './route.ts';
import type { StorageDefinition, Volume } from './storage-model.ts';
import { registryRoutes } from './storage-registry.ts';
import { contentFolders, needStorage } from './storage-paths.ts';
import { uploadRoutes } from './storage-upload.ts';
import type { World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

const mayUse = ({ may }: Call, storage: string): boolean =>
  may(`/storage/${storage}`, 'Datastore.Audit') || may(`/storage/${storage}`, 'Datastore.AllocateSpace');

function stateOf(world: World, definition: StorageDefinition, node: string): Row {
  const used = world.storages.usedBytes(definition, node);
  const total = definition.totalBytes;
  return {
    type: definition.type,
    content: definition.content.join(','),
    shared: definition.shared ? 1 : 0,
    enabled: definition.enabled ? 1 : 0,
    active: definition.enabled ? 1 : 0,
    total,
    used,
    avail: Math.max(0, total - used),
  };
}

function listStorages(call: Call): Row[] {
  const { world, node } = call;
  const { content, storage, enabled } = call.parameters;
  const wanted = content?.split(/[\s,;]+/) ?? [];
  const fitting = [...world.storages.definitions.values()].filter(
    (definition) =>
      mayUse(call, definition.id) &&
      world.storages.isOn(definition, node) &&
      (storage === undefined || storage === definition.id) &&
      (enabled !== '1' || definition.enabled) &&
      (wanted.length === 0 || wanted.some((one) => definition.content.includes(one))),
  );
  return fitting.map((definition) => {
    const state = stateOf(world, definition, node);
    return { ...state, storage: definition.id, used_fraction: Number(state['used']) / definition.totalBytes };
  });
}

const digestOf = (world: World): string =>
  createHash('sha1')
    .update([...world.storages.definitions.keys()].join())
    .digest('hex');

function configurationRow(world: World, definition: StorageDefinition): Row {
  const { id, type, content, shared, path, nodes, enabled, fields } = definition;
  return {
    storage: id,
    type,
    content: content.join(','),
    digest: digestOf(world),
    ...fields,
    ...(shared ? { shared: 1 } : {}),
    ...(enabled ? {} : { disable: 1 }),
    ...(path === undefined ? {} : { path }),
    ...(nodes === undefined ? {} : { nodes: [...nodes].join(',') }),
  };
}

async function createStorage({ world, parameters }: Call): Promise<Row> {
  const { storage: id = '', type = '', content, path, shared, nodes, disable, ...fields } = parameters;
  await world.clusterLock('file-storage_cfg', 'create storage failed: ');
  if (world.storages.definitions.has(id)) {
    throw refusal(`create storage failed: storage ID '${id}' already defined`);
  }
  const { storage: _storage, type: _type, ...rest } = fields;
  world.storages.add({
    id,
    type,
    content: content?.split(',') ?? ['images', 'rootdir'],
    shared: shared === '1',
    path,
    nodes: nodes === undefined ? undefined : new Set(nodes.split(',')),
    enabled: disable !== '1',
    fields: rest,
  });
  return { storage: id, type };
}

async function deleteStorage({ world, parameters }: Call): Promise<null> {
  const { storage = '' } = parameters;
  await world.clusterLock('file-storage_cfg', 'delete storage failed: ');
  if (!world.storages.definitions.delete(storage)) throw refusal(`storage '${storage}' does not exist`);
  return null;
}

const isDisk = ({ content }: Volume): boolean => content === 'images' || content === 'rootdir';

/** Disks tell their guest and what they hang on; files tell when they came. */
function volumeRow(volume: Volume): Row {
  const { volid, content, format, sizeBytes: size, vmid, createdAt, notes } = volume;
  const ctime = createdAt === undefined || format === 'subvol' ? {} : { ctime: createdAt };
  const more = {
    ...ctime,
    ...(vmid === undefined ? {} : { vmid }),
    ...(notes === undefined ? {} : { notes }),
    ...(volume.protected === true ? { protected: 1 } : {}),
  };
  if (content === 'backup' && volume.backupOf !== undefined) {
    return { volid, content, format, size, ...more, subtype: volume.backupOf.kind };
  }
  if (!isDisk(volume)) return { volid, content, format, size, ...more };
  return {
    volid,
    content,
    format,
    size,
    used: volume.usedBytes ?? size,
    parent: volume.parent ?? null,
    ...more,
  };
}

function listContent(call: Call): Row[] {
  const { storage = '', content, vmid } = call.parameters;
  const { world, node } = call;
  needStorage(world, storage, node);
  const all = [...world.storages.volumes(storage, node).values()];
  const audits =
    call.may(`/storage/${storage}`, 'Datastore.Audit') ||
    call.may(`/storage/${storage}`, 'Datastore.AllocateSpace');
  const fitting = all.filter(
    (volume) =>
      audits &&
      (content === undefined || volume.content === content) &&
      (vmid === undefined || volume.vmid === Number(vmid)),
  );
  return fitting.sort((a, b) => (a.volid < b.volid ? -1 : 1)).map(volumeRow);
}

const full = (storage: string, volume: string): string =>
  volume.startsWith(`${storage}:`) ? volume : `${storage}:${volume}`;

function volumeInfo({ world, node, parameters }: Call): Row {
  const { storage = '', volume = '' } = parameters;
  const definition = needStorage(world, storage, node);
  const volid = full(storage, volume);
  const found = world.storages.find(volid, node);
  if (found === undefined) throw refusal(`volume_size_info on '${volid}' failed - no format`);
  const [, rest = ''] = volid.split(/:(.*)/);
  const [kind = '', name = ''] = rest.split('/');
  const folder = contentFolders[kind];
  const path = folder === undefined ? `images/${rest}` : `${folder}/${name}`;
  const blocks = Math.ceil(found.sizeBytes / 512) * 512;
  return {
    path: `${definition.path ?? '/mnt'}/${path}`,
    size: isDisk(found) ? found.sizeBytes : blocks,
    used: isDisk(found) ? (found.usedBytes ?? 0) : Math.ceil(found.sizeBytes / 4096) * 4096,
    format: isDisk(found) ? found.format : 'raw',
    ...(found.notes === undefined ? {} : { notes: found.notes }),
    ...(found.protected === undefined ? {} : { protected: found.protected ? 1 : 0 }),
  };
}

/** Whether a guest still needs it is not asked, and a volume that is gone is deleted as well as any other. */
function deleteVolume(call: Call): string {
  const { world, node } = call;
  const { storage = '', volume = '' } = call.parameters;
  needStorage(world, storage, node);
  const volid = full(storage, volume);
  const found = world.storages.find(volid, node);
  const owner = /(?:^|[/:-])(?:vm|subvol|base|vzdump-lxc|vzdump-qemu)-(\d+)-/.exec(volid)?.[1];
  needDelete(call, storage, volid.includes(':backup/') ? owner : undefined);
  return call.fork('imgdel', owner === undefined ? storage : `${owner}@${storage}`, async (control) => {
    await control.passes(100);
    if (found?.protected === true) {
      throw new Error(`cannot remove protected volume '${volid.slice(storage.length + 1)}' on '${storage}'`);
    }
    world.storages.volumes(storage, node).delete(volid);
    control.log(`Removed volume '${volid}'`);
  });
}

/** Only backups are the affair of those who may back their guest up. */
function needDelete(call: Call, storage: string, backupOf: string | undefined): void {
  if (backupOf === undefined) return call.require(`/storage/${storage}`, 'Datastore.Allocate');
  call.require(`/storage/${storage}`, 'Datastore.AllocateSpace');
  call.require(`/vms/${backupOf}`, 'VM.Backup');
}

const unitBytes: Readonly<Record<string, number>> = { '': 1024, M: 1024 ** 2, G: 1024 ** 3 };

function allocate({ world, node, parameters }: Call): string {
  const { storage = '', vmid = '', filename = '', size = '', format } = parameters;
  const definition = needStorage(world, storage, node);
  const [, amount = '0', unit = ''] = /^(\d+(?:\.\d+)?)([MG]?)$/.exec(size) ?? [];
  const volid = `${storage}:${vmid}/${filename}`;
  if (world.storages.find(volid, node) !== undefined) {
    const path = `${definition.path ?? '/mnt'}/images/${vmid}/${filename}`;
    throw refusal(`disk image '${path}' already exists`);
  }
  const kind = world.guests.get(Number(vmid))?.kind;
  world.storages.volumes(storage, node).set(volid, {
    volid,
    content: kind === 'lxc' ? 'rootdir' : 'images',
    format: format ?? filename.split('.').at(-1) ?? 'raw',
    sizeBytes: Number(amount) * (unitBytes[unit] ?? 1),
    usedBytes: 4096,
    vmid: Number(vmid),
    createdAt: world.now(),
  });
  return volid;
}

function updateVolume({ world, node, parameters }: Call): null {
  const { storage = '', volume = '', notes } = parameters;
  const found = world.storages.find(full(storage, volume), node);
  if (found === undefined) throw refusal(`volume '${full(storage, volume)}' does not exist`);
  if (notes !== undefined) found.notes = notes;
  if (parameters['protected'] !== undefined) found.protected = parameters['protected'] === '1';
  return null;
}

export const storageRoutes: Routes = {
  'GET /storage': (call) =>
    [...call.world.storages.definitions.values()]
      .filter(({ id }) => mayUse(call, id))
      .map((definition) => configurationRow(call.world, definition)),
  'GET /storage/{storage}': ({ world, node, parameters }) =>
    configurationRow(world, needStorage(world, parameters['storage'] ?? '', node)),
  'POST /storage': createStorage,
  'DELETE /storage/{storage}': deleteStorage,
  'GET /nodes/{node}/storage': listStorages,
  'GET /nodes/{node}/storage/{storage}': () =>
    [
      'content',
      'download-url',
      'file-restore',
      'import-metadata',
      'prunebackups',
      'rrd',
      'rrddata',
      'status',
      'upload',
    ].map((subdir) => ({ subdir })),
  'GET /nodes/{node}/storage/{storage}/status': ({ world, node, parameters }) =>
    stateOf(world, needStorage(world, parameters['storage'] ?? '', node), node),
  'GET /nodes/{node}/storage/{storage}/content': listContent,
  'POST /nodes/{node}/storage/{storage}/content': allocate,
  'GET /nodes/{node}/storage/{storage}/content/{volume}': volumeInfo,
  'PUT /nodes/{node}/storage/{storage}/content/{volume}': updateVolume,
  'DELETE /nodes/{node}/storage/{storage}/content/{volume}': deleteVolume,
  ...uploadRoutes,
  ...registryRoutes,
};
