/** Where the server for tests answers otherwise than the recorded clusters, and why it may. */
import type { ReplayFinding } from './proxmox/replay-flow.ts';

export interface Difference {
  /** All flows where left out. */
  readonly flow?: string;
  readonly version?: string;
  /** The exchange's number, or a part of its step's name. */
  readonly step?: number | RegExp;
  readonly field: RegExp;
  readonly reason: string;
}

const differences: readonly Difference[] = [];

/**
 * Exchanges of flows that are not reached yet: at most so many are answered otherwise, without a reason for each.
 * A flow that is not named has none.
 */
const unreached: Readonly<Record<string, number>> = {
  '8.4.21/cloud-init': 33,
  '8.4.21/failover': 71,
  '8.4.21/failover-network': 6,
  '8.4.21/ha': 125,
  '8.4.21/inventory': 22,
  '8.4.21/lxc-backup': 45,
  '8.4.21/lxc-clone': 44,
  '8.4.21/lxc-errors': 11,
  '8.4.21/lxc-lifecycle': 2,
  '8.4.21/lxc-locked': 35,
  '8.4.21/lxc-migrate': 46,
  '8.4.21/lxc-parallel-create': 16,
  '8.4.21/lxc-resize': 1,
  '8.4.21/lxc-snapshot': 56,
  '8.4.21/no-quorum': 32,
  '8.4.21/pools': 5,
  '8.4.21/qemu-agent': 36,
  '8.4.21/qemu-clone': 22,
  '8.4.21/qemu-lifecycle': 134,
  '8.4.21/qemu-migrate': 41,
  '8.4.21/qemu-snapshot': 45,
  '8.4.21/qemu-template': 33,
  '8.4.21/storage-upload': 22,
  '8.4.21/tasks': 57,
  '8.4.21/version-auth': 19,
  '9.2.11/access': 1,
  '9.2.11/cloud-init': 33,
  '9.2.11/ha': 82,
  '9.2.11/inventory': 17,
  '9.2.11/lxc-backup': 45,
  '9.2.11/lxc-clone': 37,
  '9.2.11/lxc-errors': 12,
  '9.2.11/lxc-lifecycle': 2,
  '9.2.11/lxc-locked': 32,
  '9.2.11/lxc-parallel-create': 6,
  '9.2.11/lxc-resize': 2,
  '9.2.11/lxc-snapshot': 55,
  '9.2.11/pools': 4,
  '9.2.11/qemu-agent': 36,
  '9.2.11/qemu-clone': 16,
  '9.2.11/qemu-lifecycle': 128,
  '9.2.11/qemu-snapshot': 43,
  '9.2.11/qemu-template': 33,
  '9.2.11/storage-upload': 20,
  '9.2.11/tasks': 54,
  '9.2.11/version-auth': 19,
};

/** How many exchanges of a flow may differ for no reason that is listed. */
export const unreachedExchanges = (version: string, flow: string): number =>
  unreached[`${version}/${flow}`] ?? 0;

const applies = (one: Difference, version: string, flow: string): boolean =>
  (one.flow === undefined || one.flow === flow) && (one.version === undefined || one.version === version);

function fits({ step, field }: Difference, finding: ReplayFinding): boolean {
  const here = typeof step === 'number' ? step === finding.exchange : (step?.test(finding.step) ?? true);
  return here && field.test(finding.field);
}

/** The findings of a replay that nobody has given a reason for, as a person reads them. */
export function unlisted(version: string, flow: string, findings: readonly ReplayFinding[]): string[] {
  const listed = differences.filter((one) => applies(one, version, flow));
  return findings
    .filter((finding) => !listed.some((one) => fits(one, finding)))
    .map(
      ({ exchange, step, field, recorded, found }) => `${exchange} ${step}: ${field}: ${recorded} / ${found}`,
    );
}

/** What is listed for this very flow and did not occur. */
export function unused(version: string, flow: string, findings: readonly ReplayFinding[]): string[] {
  const own = differences.filter((one) => one.flow !== undefined && applies(one, version, flow));
  return own
    .filter((one) => !findings.some((finding) => fits(one, finding)))
    .map(({ step, field, reason }) => `${step}: ${field}: ${reason}`);
}
