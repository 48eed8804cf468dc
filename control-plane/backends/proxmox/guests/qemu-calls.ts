import { type GuestCalls, type GuestPlace, guestCall } from './guest-kind.ts';

type Disk = Parameters<typeof guestCall<'PUT /nodes/{node}/qemu/{vmid}/resize'>>[1]['disk'];

/** The calls about one virtual machine. */
export function qemuCalls({ node, vmid }: GuestPlace): GuestCalls {
  const place = { node, vmid };
  return {
    status: () => guestCall('GET /nodes/{node}/qemu/{vmid}/status/current', place),
    config: () => guestCall('GET /nodes/{node}/qemu/{vmid}/config', place),
    pending: () => guestCall('GET /nodes/{node}/qemu/{vmid}/pending', place),
    // A task of its own: disks that are made or imported take longer than a request may.
    configure: ({ set, unset }, digest) =>
      guestCall('POST /nodes/{node}/qemu/{vmid}/config', {
        ...place,
        ...set,
        ...(unset.length > 0 && { delete: unset.join(',') }),
        ...(digest !== '' && { digest }),
      }),
    grow: (disk, sizeGib) =>
      guestCall('PUT /nodes/{node}/qemu/{vmid}/resize', {
        ...place,
        disk: disk as Disk,
        size: `${sizeGib}G`,
      }),
    start: () => guestCall('POST /nodes/{node}/qemu/{vmid}/status/start', place),
    shutdown: (timeoutS) =>
      guestCall('POST /nodes/{node}/qemu/{vmid}/status/shutdown', { ...place, timeout: timeoutS }),
    reboot: (timeoutS) =>
      guestCall('POST /nodes/{node}/qemu/{vmid}/status/reboot', { ...place, timeout: timeoutS }),
    // A shutdown that it does not heed holds its lock for as long as that waits; HA ends that itself.
    stop: (isLeftToHa) =>
      guestCall('POST /nodes/{node}/qemu/{vmid}/status/stop', {
        ...place,
        ...(!isLeftToHa && { 'overrule-shutdown': true }),
      }),
    pause: () => guestCall('POST /nodes/{node}/qemu/{vmid}/status/suspend', place),
    resume: () => guestCall('POST /nodes/{node}/qemu/{vmid}/status/resume', place),
    reset: () => guestCall('POST /nodes/{node}/qemu/{vmid}/status/reset', place),
    // Unreferenced disks of the number may be somebody's who detached them.
    destroy: () => guestCall('DELETE /nodes/{node}/qemu/{vmid}', { ...place, purge: true }),
    snapshots: () => guestCall('GET /nodes/{node}/qemu/{vmid}/snapshot', place),
    // Without its memory. Where the guest agent runs, the cluster has it hold its file systems still.
    takeSnapshot: (snapname, description) =>
      guestCall('POST /nodes/{node}/qemu/{vmid}/snapshot', { ...place, snapname, description }),
    rollback: (snapname, startAfter) =>
      guestCall('POST /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback', {
        ...place,
        snapname,
        ...(startAfter && { start: true }),
      }),
    removeSnapshot: (snapname) =>
      guestCall('DELETE /nodes/{node}/qemu/{vmid}/snapshot/{snapname}', { ...place, snapname }),
    migrate: (target, isRunning) =>
      guestCall('POST /nodes/{node}/qemu/{vmid}/migrate', {
        ...place,
        target,
        ...(isRunning && { online: true, 'with-local-disks': true }),
      }),
    migratePreconditions: (target) =>
      guestCall('GET /nodes/{node}/qemu/{vmid}/migrate', { ...place, target }),
    addresses: () => guestCall('GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces', place),
  };
}
