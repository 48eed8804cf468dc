import type { ClusterGuest } from '#shared/model.ts';
import type { GuestKind } from './guest-kind.ts';
import { lxcKind } from './lxc.ts';
import { qemuKind } from './qemu.ts';

/** All that Proxmox VE has. */
export const guestKinds: Readonly<Record<ClusterGuest['kind'], GuestKind>> = { lxc: lxcKind, qemu: qemuKind };
