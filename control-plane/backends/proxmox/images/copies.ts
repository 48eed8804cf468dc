import { DroverError } from '#shared/errors.ts';
import type { InstanceSpec } from '#shared/model.ts';
import { rowOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { type Configuration, type CopiedGuest, guestCall } from '../guests/guest-kind.ts';
import { isLinked } from '../guests/cluster-options.ts';
import { isOn } from '../guests/properties.ts';
import { disksIn, type GuestDisk, storagesInUse, storagesOf } from '../guests/disks.ts';
import { ask } from '../tasks/perform.ts';
import { storageKey, storageOn } from '../observe/storages.ts';
import { findSnapshot } from '../snapshots/find-snapshot.ts';

/** What a guest is to be a copy of. */
export interface CopySource {
  readonly node: string;
  readonly vmid: number;
  readonly kind: 'lxc' | 'qemu';
  /** As it was then. Empty: as it is. */
  readonly snapshot: string;
}

/** The copy's image, with the snapshot by its name there. Throws what keeps it from being made. */
export type CopyOf = (
  source: CopySource,
  node: string,
  spec: Pick<InstanceSpec, 'vm' | 'cluster' | 'rootPool'>,
  signal: AbortSignal,
) => Promise<CopiedGuest>;

const nouns = { lxc: 'container', qemu: 'virtual machine' } as const;

/**
 * Whether a guest on a node can be a copy of another one, before anything is made. failed-precondition names
 * what is in the way and what to do; not-found: it, or its snapshot, is not there.
 */
export function createCopies(tools: ClusterTools): CopyOf {
  const { api, kinds, memory, name: cluster } = tools;
  const subjectOf = ({ vmid }: CopySource) => ({ cluster, vmid: String(vmid), acted: 'no' });

  const refusal = (source: CopySource, message: string, nextStep: string): DroverError =>
    new DroverError('failed-precondition', message, {
      subject: subjectOf(source),
      reason: 'copy',
      nextStep,
    });

  async function configOf(source: CopySource, signal: AbortSignal): Promise<Configuration> {
    const { node, vmid, kind, snapshot } = source;
    const place = { node, vmid, ...(snapshot !== '' && { snapshot }) };
    const call =
      kind === 'lxc'
        ? guestCall('GET /nodes/{node}/lxc/{vmid}/config', place)
        : guestCall('GET /nodes/{node}/qemu/{vmid}/config', place);
    return rowOf(await ask({ api }, call, signal));
  }

  async function isStill(source: CopySource, config: Configuration, signal: AbortSignal): Promise<boolean> {
    if (isOn(config['template'])) return true;
    const status = rowOf(await ask({ api }, kinds[source.kind].calls(source).status(), signal));
    return status['status'] === 'stopped';
  }

  /** What runs changes while it is copied. */
  function checkRunning(source: CopySource, config: Configuration): void {
    const { vmid, kind, snapshot } = source;
    if (snapshot !== '') return;
    const nextStep = 'take a snapshot and name it (guest/VMID@SNAPSHOT), or stop it for the time';
    if (kind === 'lxc')
      throw refusal(source, `container ${vmid} runs: it is copied from a snapshot, or stopped`, nextStep);
    if (config['tpmstate0'] !== undefined)
      throw refusal(source, `virtual machine ${vmid} runs, and its TPM cannot be copied meanwhile`, nextStep);
  }

  function checkVolumes(source: CopySource, config: Configuration): void {
    if (source.kind === 'qemu') return;
    const strange = copiedDisks(config).filter(({ storage }) => storage === '');
    if (strange.length === 0) return;
    throw refusal(
      source,
      `container ${source.vmid} has ${strange.map(({ key }) => key).join(', ')} on no storage`,
      'what is mounted from its node cannot be copied: take it out of that container',
    );
  }

  /** A copy for another node is made where its source is, and must be within reach of both. */
  function checkReach(source: CopySource, node: string, storages: readonly string[]): void {
    if (source.node === node) return;
    const local = storages.filter(
      (storage) => storage !== '' && storageOn(memory, source.node, storage)?.shared !== true,
    );
    if (local.length === 0) return;
    throw refusal(
      source,
      `${nouns[source.kind]} ${source.vmid} is on ${source.node}, with disks on ${local.join(', ')}, ` +
        `which is not shared: its copies are made there, and not on ${node}`,
      `have them placed there: placement.require "proxmox.node = ${source.node}"`,
    );
  }

  async function checkLinked(
    source: CopySource,
    spec: Pick<InstanceSpec, 'rootPool'>,
    config: Configuration,
    signal: AbortSignal,
  ): Promise<void> {
    const { node, vmid, kind } = source;
    const full = 'say "clone: full", or have the template on a storage that can: ZFS, thin LVM, Ceph';
    const noun = nouns[kind];
    if (!isOn(config['template']))
      throw refusal(source, `${noun} ${vmid} is no template: nothing can be linked to it`, full);
    const root = kinds[kind].rootStorage(config);
    if (spec.rootPool !== '' && spec.rootPool !== root)
      throw refusal(
        source,
        `a linked copy is where its template is, on ${root}, and root.pool says ${spec.rootPool}`,
        `take root.pool out, or say "clone: full"`,
      );
    const parameters = { node, vmid, feature: 'clone' } as const;
    const call =
      kind === 'lxc'
        ? guestCall('GET /nodes/{node}/lxc/{vmid}/feature', parameters)
        : guestCall('GET /nodes/{node}/qemu/{vmid}/feature', parameters);
    if (isOn(rowOf(await ask({ api }, call, signal))['hasFeature'])) return;
    const storages = storagesOf(copiedDisks(config)).join(', ');
    throw refusal(
      source,
      `no ${noun} can be linked to template ${vmid}: its disks are on ${storages}, which cannot`,
      full,
    );
  }

  return async (asked, node, spec, signal) => {
    const called = asked.snapshot;
    const snapshot = called === '' ? '' : await findSnapshot(tools, asked, called, signal);
    const source = { ...asked, snapshot };
    const config = await configOf(source, signal);
    const still = await isStill(source, config, signal);
    if (!still) checkRunning(source, config);
    checkVolumes(source, config);
    const linked = isLinked(spec);
    if (linked) await checkLinked(source, spec, config, signal);
    const target = linked ? '' : spec.rootPool;
    checkReach(source, node, [...storagesInUse(config), target]);
    const named = target === '' ? storagesOf(copiedDisks(config)) : [target];
    return {
      kind: 'guest',
      node: source.node,
      vmid: source.vmid,
      snapshot,
      isAlone: source.kind === 'lxc' || !still,
      storages: linked ? [] : named.map((storage) => storageKey(memory, node, storage)),
    };
  };
}

/** Has a copy made for a node when there is room, and no other of its source is to come first. */
export function copyInTurn<T>(
  { limits }: Pick<ClusterTools, 'limits'>,
  { vmid, storages, isAlone }: CopiedGuest,
  node: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const make = (): Promise<T> => limits.run({ node, storages }, signal, work);
  return isAlone ? limits.run({ copyOf: vmid }, signal, make) : make();
}

const copiedDisks = (config: Configuration): GuestDisk[] =>
  disksIn(config).filter(({ isDisc, isUnused }) => !isDisc && !isUnused);
