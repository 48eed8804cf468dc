import type { ClusterOptions, VmOptions } from '#shared/model.ts';
import { formatMib } from '#shared/units.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';

type Fields = (readonly [string, unknown])[];

const flag = (value: boolean): true | '' => value || '';
const counted = (value: number): number | '' => (value === 0 ? '' : value);
const other = <Value>(value: Value, plain: Value): Value | '' => (value === plain ? '' : value);

/** A drive without a word in it is there all the same. */
const drive = ({ cloudInit }: VmOptions): unknown =>
  cloudInit === undefined
    ? ''
    : {
        ...(cloudInit.user !== '' && { user: cloudInit.user }),
        ...(cloudInit.sshKeys.length > 0 && { sshKeys: cloudInit.sshKeys }),
      };

/** What is as it is by itself is not said. */
export function vmFields(vm: VmOptions): Fields {
  const { disk } = vm;
  return [
    ['vm.cpuType', vm.cpuType],
    ['vm.sockets', counted(vm.sockets)],
    ['vm.cores', counted(vm.cores)],
    ['vm.balloon', vm.balloonMib === 0 ? '' : formatMib(vm.balloonMib)],
    ['vm.numa', flag(vm.numa)],
    ['vm.kvm', vm.kvm ? '' : false],
    ['vm.bios', other(vm.bios, plainVmOptions.bios)],
    ['vm.machine', vm.machine],
    ['vm.tpm', flag(vm.tpm)],
    ['vm.agent', vm.agent ? '' : false],
    ['vm.serial', flag(vm.serial)],
    ['vm.display', vm.display],
    ['vm.osType', vm.osType],
    ['vm.clone', other(vm.clone, plainVmOptions.clone)],
    ['vm.cloudInit', drive(vm)],
    ['vm.disk.bus', other(disk.bus, plainVmOptions.disk.bus)],
    ['vm.disk.cache', disk.cache],
    ['vm.disk.discard', flag(disk.discard)],
    ['vm.disk.ssd', flag(disk.ssd)],
    ['vm.disk.iothread', flag(disk.iothread)],
  ];
}

export const clusterFields = ({ features, ...cluster }: ClusterOptions): Fields => [
  ['cluster.pool', cluster.pool],
  ['cluster.tags', cluster.tags],
  ['cluster.sshKeys', cluster.sshKeys],
  ['cluster.features.keyctl', flag(features.keyctl)],
  ['cluster.features.fuse', flag(features.fuse)],
  ['cluster.features.mount', features.mount],
  ['cluster.onBoot', cluster.onBoot ? '' : false],
  ['cluster.protection', flag(cluster.protection)],
  ['cluster.clone', cluster.clone ?? ''],
];
