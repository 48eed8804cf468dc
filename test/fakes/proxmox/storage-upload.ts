/** Files that come to a storage: uploads and downloads. */
import { parameterFailure, refusal } from './failure.ts';
import type { Downloaded } from './internet.ts';
import type { Call, Routes, UploadedFile } from './route.ts';
import { filePath, formatOf, hasFittingName, needStorage, plainName } from './storage-paths.ts';
import type { StorageDefinition } from './storage-model.ts';
import type { TaskControl } from './task-engine.ts';
import type { World } from './world.ts';

function checkTarget(
  { world, node, parameters }: Call,
  way: 'upload' | 'download',
): {
  definition: StorageDefinition;
  content: string;
  name: string;
} {
  const { storage = '', content = '', filename = '' } = parameters;
  const definition = needStorage(world, storage, node);
  const name = plainName(filename);
  const checkContent = (words: string): void => {
    if (!definition.content.includes(content)) throw refusal(`storage '${storage}' ${words}`);
  };
  // Each of the two has an order of its own, and words.
  if (way === 'download') checkContent(`is not configured for content-type '${content}'`);
  if (!hasFittingName(content, name, world.major)) {
    const words = content === 'import' ? 'invalid filename or wrong extension' : 'wrong file extension';
    throw parameterFailure({ filename: words });
  }
  checkContent(`does not support '${content}' content`);
  return { definition, content, name };
}

/** It runs where it was asked; a file for another node is copied there with scp. */
function upload(call: Call): string {
  const { world, node, endpoint, caller, files } = call;
  const { content, definition, name } = checkTarget(call, 'upload');
  const [file] = files;
  if (file === undefined) throw refusal('no file');
  needLivingNode(call, definition.id);
  const { checksum, 'checksum-algorithm': algorithm } = call.parameters;
  const found = algorithm === 'sha256' ? file.sha256 : checksum;
  const task = world.task({ node: endpoint, type: 'imgcopy', id: '', caller }, async (control) => {
    const temporary = `/var/tmp/pveupload-${file.sha256.slice(0, 32)}`;
    control.log(`starting file import from: ${temporary}`);
    if (checksum !== undefined) checkSum(control, checksum, found ?? '');
    const path = filePath(definition, content, name);
    const options = [
      'BatchMode=yes',
      `HostKeyAlias=${node}`,
      `UserKnownHostsFile=/etc/pve/nodes/${node}/ssh_known_hosts`,
      'GlobalKnownHostsFile=none',
    ].map((option) => `-o ${option}`);
    const command = node === endpoint ? 'cp --' : `/usr/bin/scp ${options.join(' ')} -p --`;
    const target = node === endpoint ? path : `[${world.nodes.get(node)?.ip}]:${path}`;
    control.log(`target node: ${node}`, `target file: ${path}`, `file size is: ${file.bytes}`);
    control.log(`command: ${command} ${temporary} ${target}`);
    await control.passes(200);
    store(world, node, definition, { content, name, file });
    control.log('finished file import successfully');
  });
  return task.upid;
}

function checkSum(control: TaskControl, wanted: string, found: string): void {
  if (wanted.toLowerCase() === found) {
    control.log('calculating checksum...OK, checksum verified');
    return;
  }
  control.log('calculating checksum...');
  throw new Error(`checksum mismatch: got '${found}' != expect '${wanted}'`);
}

function checkExisting(control: TaskControl, wanted: string, found: string): void {
  if (wanted.toLowerCase() !== found)
    throw new Error(`checksum mismatch: got '${found}' != expect '${wanted}', aborting`);
  control.log('calculating checksum of existing file...OK, got correct file already, no need to download');
}

function needLivingNode({ world, node, endpoint }: Call, storage: string): void {
  const target = world.nodes.get(node);
  if (node === endpoint || target === undefined || target.alive) return;
  const options = [
    `'BatchMode=yes'`,
    `'HostKeyAlias=${node}'`,
    `'UserKnownHostsFile=/etc/pve/nodes/${node}/ssh_known_hosts'`,
    `'GlobalKnownHostsFile=none'`,
  ].map((option) => `-o ${option}`);
  const command = `/usr/bin/ssh ${options.join(' ')} ${target.ip} -- /usr/sbin/pvesm status --storage ${storage}`;
  throw refusal(
    `can't activate storage '${storage}' on node '${node}': command '${command}' failed: exit code 255`,
  );
}

function store(
  world: World,
  node: string,
  { id }: StorageDefinition,
  {
    content,
    name,
    file,
  }: {
    content: string;
    name: string;
    file: Pick<UploadedFile, 'bytes' | 'sha256'> & { readonly virtualBytes?: number };
  },
): void {
  const volid = `${id}:${content}/${name}`;
  const { bytes: sizeBytes, sha256, virtualBytes } = file;
  const format = formatOf(content, name);
  const about = { volid, content, format, createdAt: world.now(), sha256 };
  const virtual = virtualBytes === undefined ? {} : { virtualBytes };
  const volume = { ...about, sizeBytes, usedBytes: sizeBytes, ...virtual };
  world.storages.volumes(id, node).set(volid, volume);
}

const timeIn = (world: World): string =>
  new Date(world.clock.nowMs()).toISOString().slice(0, 19).replace('T', ' ');

function download(call: Call): string {
  const { world, node, parameters } = call;
  const { url = '', checksum, 'checksum-algorithm': algorithm = 'sha256' } = parameters;
  const { definition, content, name } = checkTarget(call, 'download');
  const path = filePath(definition, content, name);
  return call.fork('download', name, async (control) => {
    control.log(`downloading ${url} to ${path}`);
    const there = world.storages.find(`${definition.id}:${content}/${name}`, node);
    if (there !== undefined) {
      if (checksum === undefined) throw new Error(`refusing to override existing file '${path}'`);
      return checkExisting(control, checksum, there.sha256 ?? '');
    }
    const file = await fetchFile(world, control, url);
    await control.passes(200);
    const { hostname, port } = new URL(url);
    control.log(`Connecting to ${hostname}:${port === '' ? '80' : port}... connected.`);
    control.log(`HTTP request sent, awaiting response... ${file.status} ${file.reason}`);
    if (file.status !== 200) {
      control.log(`${timeIn(world)} ERROR ${file.status}: ${file.reason}.`);
      throw new Error('download failed: exit code 8');
    }
    logWget(world, control, `${path}.tmp_dwnl.${control.pid}`, file);
    if (checksum !== undefined)
      checkSum(control, checksum, algorithm === 'sha512' ? file.sha512 : file.sha256);
    store(world, node, definition, { content, name, file });
    control.log(`download of '${url}' to '${path}' finished`);
  });
}

async function fetchFile(world: World, control: TaskControl, url: string): Promise<Downloaded> {
  control.log(`--${timeIn(world)}--  ${url}`);
  try {
    return await world.internet.fetch(url);
  } catch {
    const { hostname, port } = new URL(url);
    throw new Error(`download failed: Connecting to ${hostname}:${port}... failed: Connection refused.`);
  }
}

function logWget(world: World, control: TaskControl, path: string, file: Downloaded): void {
  control.log(`Length: ${file.bytes} (${Math.round(file.bytes / 1024)}K) [${file.mimeType}]`);
  control.log(`Saving to: '${path}'`);
  control.log('     0K                                    100% 34.7M=0.03s');
  control.log(`${timeIn(world)} (34.7 MB/s) - '${path}' saved [${file.bytes}/${file.bytes}]`);
}

async function urlMetadata({ world, parameters }: Call): Promise<unknown> {
  const { url = '' } = parameters;
  const file = await world.internet.fetch(url).catch(() => {
    throw refusal(
      `HTTP status 500 (Can't connect to ${new URL(url).host} (Connection refused)) while accessing ${url}`,
    );
  });
  if (file.status !== 200)
    throw refusal(`HTTP status ${file.status} (${file.reason}) while accessing ${url}`);
  return { filename: url.split('/').at(-1), size: file.bytes, mimetype: file.mimeType };
}

export const uploadRoutes: Routes = {
  'POST /nodes/{node}/storage/{storage}/upload': upload,
  'POST /nodes/{node}/storage/{storage}/download-url': download,
  'GET /nodes/{node}/query-url-metadata': urlMetadata,
};
