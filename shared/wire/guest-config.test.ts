import { describe, expect, it } from 'vitest';
import { GuestConfig } from '#shared/gen/drover/model/v1/model.ts';
import { collectFaults } from '#shared/wire/checks.ts';
import { checkGuestConfig } from '#shared/wire/guest-config.ts';

describe('where a data volume is mounted', () => {
  it.each([
    ['/data', true],
    ['/var/lib/data.d', true],
    ['/..data', true],
    ['/', false],
    ['data', false],
    ['/data/', false],
    ['/a//b', false],
    ['/a/../b', false],
    ['/./proc', false],
    ['/data/.', false],
    ['/proc', false],
    ['/sys/fs', false],
    ['/dev/shm', false],
    ['/devices', true],
  ])('%s may be: %s', (mountPath, isAllowed) => {
    const message = GuestConfig.fromPartial({ volumes: [{ name: 'data', mountPath }] });
    const faults = collectFaults();
    checkGuestConfig(message, 'none', '', faults);
    const check = (): void => faults.throwIfAny('spec');
    if (isAllowed) expect(check).not.toThrow();
    else expect(check).toThrow('volumes[0].mount');
  });
});
