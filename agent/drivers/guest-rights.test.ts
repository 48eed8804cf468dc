import { describe, expect, it } from 'vitest';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { capabilityMask, grantedCapabilities } from './guest-rights.ts';

const usual = ['CAP_CHOWN', 'CAP_KILL'];
const { security } = plainGuestConfig;

describe('the capabilities of a guest', () => {
  it.each([
    ['are the usual ones', {}, ['CAP_CHOWN', 'CAP_KILL']],
    ['are more', { addCapabilities: ['CAP_NET_ADMIN'] }, ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_ADMIN']],
    ['are fewer', { dropCapabilities: ['CAP_KILL', 'CAP_MKNOD'] }, ['CAP_CHOWN']],
    ['are none that reach the machine', { addCapabilities: ['CAP_BPF'] }, undefined],
    ['are dropped last', { addCapabilities: ['CAP_KILL'], dropCapabilities: ['CAP_KILL'] }, ['CAP_CHOWN']],
    ['may be added twice', { addCapabilities: ['CAP_KILL'], privileged: true }, ['CAP_CHOWN', 'CAP_KILL']],
  ] as const)('%s', (_, changes, wanted) => {
    const granted = (): string[] => grantedCapabilities(usual, { ...security, ...changes });
    if (wanted === undefined) expect(granted).toThrow(/whole machine/);
    else expect(granted()).toEqual(wanted);
  });

  it('are not more than usual where no user namespace narrows them', () => {
    const asked = { ...security, privileged: true, addCapabilities: ['CAP_NET_ADMIN'] };
    expect(() => grantedCapabilities(usual, asked)).toThrow(/privileged guest is given no CAP_NET_ADMIN/);
  });

  it('are written as the kernel writes them', () => {
    expect(capabilityMask(['CAP_CHOWN', 'CAP_NET_ADMIN', 'CAP_CHECKPOINT_RESTORE'])).toBe('0000010000001001');
  });
});
