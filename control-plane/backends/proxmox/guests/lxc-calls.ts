import { type GuestCalls, type GuestPlace, guestCall } from './guest-kind.ts';

/** The calls about one container. */
export function lxcCalls({ node, vmid }: GuestPlace): GuestCalls {
  const place = { node, vmid };
  return {
    status: () => guestCall('GET /nodes/{node}/lxc/{vmid}/status/current', place),
    config: () => guestCall('GET /nodes/{node}/lxc/{vmid}/config', place),
    pending: () => guestCall('GET /nodes/{node}/lxc/{vmid}/pending', place),
    configure: ({ set, unset }, digest) =>
      guestCall('PUT /nodes/{node}/lxc/{vmid}/config', {
        ...place,
        ...set,
        ...(unset.length > 0 && { delete: unset.join(',') }),
        ...(digest !== '' && { digest }),
      }),
    grow: (disk, sizeGib) =>
      guestCall('PUT /nodes/{node}/lxc/{vmid}/resize', {
        ...place,
        disk: disk as 'rootfs',
        size: `${sizeGib}G`,
      }),
    start: () => guestCall('POST /nodes/{node}/lxc/{vmid}/status/start', place),
    // Where it is not ended then, as much time passes once more before its task gives up.
    shutdown: (timeoutS, isEndedThen) =>
      guestCall('POST /nodes/{node}/lxc/{vmid}/status/shutdown', {
        ...place,
        timeout: timeoutS,
        ...(isEndedThen && { forceStop: true }),
      }),
    reboot: (timeoutS) =>
      guestCall('POST /nodes/{node}/lxc/{vmid}/status/reboot', { ...place, timeout: timeoutS }),
    // A shutdown that it does not heed holds its lock for as long as that waits; HA ends that itself.
    stop: (isLeftToHa) =>
      guestCall('POST /nodes/{node}/lxc/{vmid}/status/stop', {
        ...place,
        ...(!isLeftToHa && { 'overrule-shutdown': true }),
      }),
    // Through CRIU, which ends the processes of most containers, into one directory for all of a node.
    pause: () => undefined,
    resume: () => undefined,
    reset: () => undefined,
    // Unreferenced disks of the number may be somebody's who detached them.
    destroy: () => guestCall('DELETE /nodes/{node}/lxc/{vmid}', { ...place, purge: true }),
    snapshots: () => guestCall('GET /nodes/{node}/lxc/{vmid}/snapshot', place),
    takeSnapshot: (snapname, description) =>
      guestCall('POST /nodes/{node}/lxc/{vmid}/snapshot', { ...place, snapname, description }),
    rollback: (snapname, startAfter) =>
      guestCall('POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback', {
        ...place,
        snapname,
        ...(startAfter && { start: true }),
      }),
    removeSnapshot: (snapname) =>
      guestCall('DELETE /nodes/{node}/lxc/{vmid}/snapshot/{snapname}', { ...place, snapname }),
    migrate: (target, isRunning) =>
      guestCall('POST /nodes/{node}/lxc/{vmid}/migrate', {
        ...place,
        target,
        ...(isRunning && { restart: true }),
      }),
    migratePreconditions: () => undefined,
    addresses: () => guestCall('GET /nodes/{node}/lxc/{vmid}/interfaces', place),
  };
}
