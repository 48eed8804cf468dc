import { createHash } from 'node:crypto';
import type { InstanceSpec, VmDisks, VolumeClaim } from '#shared/model.ts';
import type { Change, Configuration, GuestChanges, SpecContext } from './guest-kind.ts';
import { isCloudInitVolume, storageOfVolume } from './disks.ts';
import {
  formatProperties,
  gibOf,
  isOn,
  mergeProperties,
  parseDiskMib,
  parseProperties,
  type Properties,
  textOf,
} from './properties.ts';
import { vmOf } from './qemu-options.ts';
import { indexedKeys } from './indexed-keys.ts';

const buses = ['scsi', 'virtio', 'sata', 'ide'] as const;
/** Of a serial number. */
const serialMax = 20;

/** One drive of a virtual machine, as its configuration has it. */
export interface Drive {
  /** "scsi0". */
  readonly key: string;
  readonly properties: Properties;
  /** "local:7200/vm-7200-disk-0.qcow2". */
  readonly volid: string;
  readonly sizeMib: number;
}

export const drivesOf = (config: Configuration): Drive[] =>
  buses.flatMap((bus) => indexedKeys(config, bus).map((key) => driveOf(config, key)));

function driveOf(config: Configuration, key: string): Drive {
  const properties = parseProperties(config[key], 'file');
  const volid = properties.get('file') ?? properties.get('volume') ?? '';
  return { key, properties, volid, sizeMib: parseDiskMib(properties.get('size')) };
}

const isDisk = ({ properties }: Drive): boolean => properties.get('media') !== 'cdrom';

/** A drive that the cluster fills with what cloud-init reads. */
export const isCloudInit = ({ volid, properties }: Drive): boolean =>
  properties.get('media') === 'cdrom' && isCloudInitVolume(volid);

/** What it starts from: the first disk of its order, else the first there is. */
export function rootDrive(config: Configuration): Drive | undefined {
  const disks = drivesOf(config).filter(isDisk);
  const order = parseProperties(config['boot'], 'legacy').get('order') ?? textOf(config['bootdisk']);
  const first = order.split(';').find((key) => disks.some((disk) => disk.key === key));
  return disks.find(({ key }) => key === first) ?? disks[0];
}

/** All disks but the root. */
export function dataDrives(config: Configuration): Drive[] {
  const root = rootDrive(config)?.key;
  return drivesOf(config).filter((drive) => isDisk(drive) && drive.key !== root);
}

/** How the guest knows a data volume, below /dev/disk/by-id: the claim's name, where it is short enough. */
export function serialOf(claim: string): string {
  if (claim.length <= serialMax) return claim;
  const digest = createHash('sha256').update(claim).digest('hex');
  return `${claim.slice(0, serialMax - 7)}-${digest.slice(0, 6)}`;
}

/** The drive of a claim: by its serial number, or by its key where it was there before us and has none. */
export const driveOfClaim = (config: Configuration, claim: string): Drive | undefined =>
  dataDrives(config).find(({ properties }) => properties.get('serial') === serialOf(claim)) ??
  dataDrives(config).find(({ key, properties }) => key === claim && !properties.has('serial'));

/** What a spec says of every disk. What it leaves to the cluster is taken away. */
const attachment = ({ cache, discard, ssd, iothread }: VmDisks) => ({
  cache: cache === '' ? undefined : cache,
  discard: discard ? 'on' : undefined,
  ssd: ssd || undefined,
  iothread: iothread || undefined,
});

export const foundAttachment = ({ properties }: Drive): Omit<VmDisks, 'bus'> => ({
  cache: (properties.get('cache') ?? '') as VmDisks['cache'],
  discard: properties.get('discard') === 'on',
  ssd: isOn(properties.get('ssd')),
  iothread: isOn(properties.get('iothread')),
});

/** A disk that is not there yet: empty, or from what is imported. */
export function newDisk(
  spec: InstanceSpec,
  storage: string,
  context: SpecContext,
  source: { readonly gib: number } | { readonly importFrom: string },
): string {
  const format = context.diskFormat?.(storage) ?? '';
  const isNew = 'gib' in source;
  return formatProperties(
    mergeProperties(new Map([['file', `${storage}:${isNew ? source.gib : 0}`]]), {
      'import-from': isNew ? undefined : source.importFrom,
      format: format === '' ? undefined : format,
      ...attachment(vmOf(spec).disk),
    }),
    'file',
  );
}

export function newDataDisk(spec: InstanceSpec, claim: VolumeClaim, context: SpecContext): string {
  const disk = newDisk(spec, context.storageOf(claim.pool), context, { gib: gibOf(claim.sizeMib) });
  return formatProperties(
    mergeProperties(parseProperties(disk, 'file'), {
      serial: serialOf(claim.name),
      ro: claim.readOnly || undefined,
    }),
    'file',
  );
}

/** Free places on scsi beyond the first, which is a root's. */
export function* freeDataKeys(config: Configuration): Generator<string, never> {
  for (let place = 1; ; place += 1) if (config[`scsi${place}`] === undefined) yield `scsi${place}`;
}

/** A disk that nobody claims any more stays: it may hold data. */
export function diskChanges(spec: InstanceSpec, config: Configuration, context: SpecContext): Change {
  const set: Record<string, unknown> = {};
  const { disk } = vmOf(spec);
  const alike = (drive: Drive, more: Readonly<Record<string, true | undefined>>): void => {
    const next = mergeProperties(withoutDefaults(drive.properties), { ...attachment(disk), ...more });
    const isSame = sameProperties(next, withoutDefaults(drive.properties));
    if (!isSame) set[drive.key] = formatProperties(next, 'file');
  };
  const root = rootDrive(config);
  if (root !== undefined) alike(root, {});
  const free = freeDataKeys(config);
  for (const claim of spec.volumes) {
    const there = driveOfClaim(config, claim.name);
    if (there === undefined) set[free.next().value] = newDataDisk(spec, claim, context);
    else alike(there, { ro: claim.readOnly || undefined });
  }
  return { set, unset: [] };
}

/** What says what is so anyway. */
const plain: Readonly<Record<string, string>> = { discard: 'ignore', ssd: '0', iothread: '0', ro: '0' };
const withoutDefaults = (properties: Properties): Properties =>
  new Map([...properties].filter(([key, value]) => plain[key] !== value));

const sameProperties = (one: Properties, other: Properties): boolean =>
  one.size === other.size && [...one].every(([key, value]) => other.get(key) === value);

/** An image is seldom a whole number of GiB: a disk that is smaller than its spec says grows past it. */
export function diskGrowth(spec: InstanceSpec, config: Configuration): GuestChanges['grow'] {
  const wanted = [
    { drive: rootDrive(config), mib: spec.resources.diskMib },
    ...spec.volumes.map(({ name, sizeMib }) => ({ drive: driveOfClaim(config, name), mib: sizeMib })),
  ];
  return wanted.flatMap(({ drive, mib }) =>
    drive !== undefined && drive.sizeMib > 0 && mib > drive.sizeMib
      ? [{ disk: drive.key, sizeGib: gibOf(mib) }]
      : [],
  );
}

/** What no disk that is there can become, one sentence each. */
export function diskRefusals(spec: InstanceSpec, config: Configuration, context: SpecContext): string[] {
  const root = rootDrive(config);
  if (root === undefined) return ['it has no disk'];
  const storage = storageOfVolume(root.volid);
  const bus = busOf(root);
  const wanted = gibOf(spec.resources.diskMib);
  const small = spec.volumes.filter(({ name, sizeMib }) => {
    const drive = driveOfClaim(config, name);
    return drive !== undefined && gibOf(sizeMib) < gibOf(drive.sizeMib);
  });
  return [
    ...(wanted > 0 && wanted < gibOf(root.sizeMib)
      ? [`its root has ${gibOf(root.sizeMib)} GiB and cannot shrink to ${wanted} GiB`]
      : []),
    ...(spec.rootPool !== '' && context.storageOf(spec.rootPool) !== storage
      ? [`its root is on ${storage}, and stays there`]
      : []),
    ...(bus === vmOf(spec).disk.bus ? [] : [`its root is on ${bus}, and stays there`]),
    ...small.map(({ name }) => `volume ${name} is larger than that, and cannot shrink`),
  ];
}

export const busOf = ({ key }: Drive): VmDisks['bus'] => buses.find((bus) => key.startsWith(bus)) ?? 'scsi';
