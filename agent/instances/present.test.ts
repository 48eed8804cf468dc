import { describe, expect, it } from 'vitest';
import type { InstanceId, NetworkMode } from '#shared/model.ts';
import { present } from './present.ts';
import type { InstanceRecord } from './record.ts';

const id = '01890000-0000-7000-8000-000000000000' as InstanceId;

/** A run that ended for good. */
const ended = (network: NetworkMode, code: number, unknown = false): InstanceRecord =>
  ({
    generation: 1,
    intent: 'run',
    run: 'ended',
    final: true,
    attempts: 0,
    restarts: 0,
    nextStartAtMs: 0,
    exit: { code, unknown, outOfMemory: false, atMs: 1 },
    spec: { network, displayName: 'web-aaaaa', restart: { policy: 'never', maxAttempts: 0 } },
  }) as unknown as InstanceRecord;

const messageOf = (record: InstanceRecord): string =>
  present({
    id,
    record,
    guest: 'absent',
    failure: undefined,
    limitsFailure: '',
    notEnforced: [],
    addresses: [],
    damage: '',
  }).message;

describe('what an agent says of a run that ended', () => {
  it.each([
    ['fails on the host network', ended('host', 1), /ip_unprivileged_port_start/],
    ['ends well on the host network', ended('host', 0), /^$/],
    ['is killed on the host network', ended('host', 137), /^$/],
    ['lost its code on the host network', ended('host', 1, true), /^$/],
    ['fails without a network', ended('none', 1), /^$/],
  ])('%s', (_name, record, message) => expect(messageOf(record)).toMatch(message));
});
