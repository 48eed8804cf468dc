import type { GuestSpec } from '../agent/drivers/driver.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';

export const testRange = { base: 1_000_000, size: 65_536 };

/** A guest as a test wants it: no image of its own, no network, small. */
export function newGuestSpec(options: {
  readonly id: InstanceId;
  readonly rootfs: string;
  readonly command: readonly string[];
  readonly changes?: Partial<InstanceSpec> | undefined;
  readonly parts?: Partial<Pick<GuestSpec, 'mounts' | 'resolvConf' | 'range'>> | undefined;
}): GuestSpec {
  const { id, rootfs, command, changes, parts } = options;
  const spec: InstanceSpec = {
    runtime: 'crun',
    image: `test@sha256:${'0'.repeat(64)}`,
    command,
    env: {},
    resources: { cpuMillicores: 0, memoryMib: 64, diskMib: 0, pids: 64 },
    network: 'none',
    restart: { policy: 'never', maxAttempts: 0 },
    stopGraceMs: 1000,
    displayName: `test-${id.slice(-5)}`,
    workload: 'test',
    user: '',
    workingDir: '',
    imageCredential: '',
    ...plainGuestConfig,
    assigned: emptyAssignment,
    ...changes,
  };
  const image = { entrypoint: [], command: [], env: {}, user: '', workingDir: '', stopSignal: 15 };
  return { id, spec, image, rootfs, range: testRange, mounts: [], resolvConf: undefined, ...parts };
}
