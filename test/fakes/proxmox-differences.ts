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

const differences: readonly Difference[] = [
  {
    flow: 'failover',
    step: 59,
    field: /\.saved$/,
    reason: 'Before 9 the list of running tasks says `saved` for some and not for others.',
  },
  {
    flow: 'failover',
    step: 103,
    field: /./,
    reason:
      'A node that came back is a member of the cluster before its API listens; the fake has both at once.',
  },
  {
    flow: 'tasks',
    step: /^list until$/,
    field: /^data\[UPID\]$/,
    reason:
      'The second that the list ends with is that of the first task of the flow, and not of one before.',
  },
];

/**
 * Exchanges of flows that are not reached yet: at most so many are answered otherwise, without a reason for each.
 * A flow that is not named has none.
 */
const unreached: Readonly<Record<string, number>> = {
  '8.4.21/failover': 1,
  '8.4.21/ha': 5,
  '8.4.21/lxc-clone': 5,
  '8.4.21/lxc-lifecycle': 1,
  '8.4.21/lxc-locked': 1,
  '8.4.21/lxc-migrate': 4,
  '8.4.21/lxc-parallel-create': 4,
  '8.4.21/lxc-resize': 1,
  '8.4.21/no-quorum': 2,
  '8.4.21/qemu-agent': 1,
  '8.4.21/qemu-lifecycle': 4,
  '8.4.21/qemu-migrate': 9,
  '8.4.21/qemu-snapshot': 1,
  '8.4.21/qemu-template': 1,
  '8.4.21/tasks': 5,
  '9.2.11/ha': 1,
  '9.2.11/lxc-backup': 1,
  '9.2.11/lxc-clone': 5,
  '9.2.11/lxc-locked': 1,
  '9.2.11/lxc-parallel-create': 3,
  '9.2.11/lxc-resize': 2,
  '9.2.11/lxc-snapshot': 1,
  '9.2.11/qemu-agent': 1,
  '9.2.11/qemu-clone': 2,
  '9.2.11/qemu-lifecycle': 1,
  '9.2.11/qemu-template': 2,
  '9.2.11/tasks': 2,
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
