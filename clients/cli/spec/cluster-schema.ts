import { vmChoices } from '#shared/wire/vm-options.ts';
import { choice, count, flag, section, size, text, texts } from './schema-parts.ts';

/** The part of a workload file about virtual machines. */
export const vmSection = section('For the proxmox-vm runtime: the virtual machine.', {
  cpuType: text('Model of processor: "host". The cluster decides where left out.'),
  sockets: count(4, '0: one.'),
  cores: count(8192, 'Of each socket; 0: resources.cpu, rounded up.'),
  balloon: size('What its memory may shrink to: "512MiB". Left out: it does not shrink.', '512MiB'),
  numa: flag('Memory nodes, one for each socket.'),
  kvm: flag('Runs on the processor itself; otherwise emulated, which is slow.', true),
  bios: choice(vmChoices.bios, 'Firmware; "ovmf" is UEFI.'),
  machine: text('Kind of machine: "q35". The cluster decides where left out.'),
  tpm: flag('A TPM 2.0.'),
  agent: flag('The guest agent is asked.', true),
  serial: flag('A serial port.'),
  display: choice(vmChoices.display, 'The cluster decides where left out.'),
  osType: choice(vmChoices.osType, '"l26" where left out: Linux since 2.6.'),
  clone: choice(vmChoices.clone, 'How a template is copied.'),
  cloudInit: section('A drive with what cloud-init reads; none where left out.', {
    user: text("Who logs in; the image's own where left out."),
    sshKeys: texts('Public keys of who logs in, at most 32.'),
  }),
  disk: section('How the root and the data volumes are attached.', {
    bus: choice(vmChoices.bus, 'Of the root; data volumes are always on scsi.'),
    cache: choice(vmChoices.cache, 'The cluster decides where left out.'),
    discard: flag('What the guest frees is free on its storage.'),
    ssd: flag('Shown as solid state disks. Not on virtio.'),
    iothread: flag('A thread for each disk. On scsi and virtio alone.'),
  }),
});

/** The part about a guest in its cluster. */
export const clusterSection = section(
  'For the proxmox-lxc and proxmox-vm runtimes: the guest in its cluster.',
  {
    pool: text('A resource pool of the cluster.'),
    tags: texts('Lower case, at most 32.'),
    sshKeys: texts('Public keys for root in a container, at most 32.'),
    features: section('What a container may do beyond the default. For nesting see security.', {
      keyctl: flag('The keyctl system call.'),
      fuse: flag('File systems in user space.'),
      mount: texts('Kinds of file systems that may be mounted inside: "nfs".'),
    }),
    onBoot: flag('Its node starts it when it boots, unless restart.policy is "never".', true),
    protection: flag('The cluster refuses to remove it.'),
    clone: choice(vmChoices.clone, 'How a template is copied; a linked copy needs it for ever.'),
  },
);
