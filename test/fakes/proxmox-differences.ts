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

/** The same words would have to be made up anew for every guest. */
const wordsOfTools = 'What tar, rsync, ssh, resize2fs and QEMU print is not imitated line by line.';
const waitedForLock =
  'Whether a task has to wait for a lock that another just gives back depends on microseconds.';
const hundredthRequest = 'The recording client kept its connection, and this was its hundredth request.';

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
    field: /^/,
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
  {
    flow: 'tasks',
    version: '8.4.21',
    step: /^(?:task log: backup|log (?:page start=0 limit=0|without))/,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'tasks',
    step: /^log download$/,
    field: /^$/,
    reason: wordsOfTools,
  },
  {
    flow: 'lxc-clone',
    version: '9.2.11',
    step: /full clone/,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'lxc-clone',
    version: '8.4.21',
    step: /clone of a template|shared storage/,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'lxc-migrate',
    step: /^task log/,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'lxc-resize',
    step: /^task log: grow/,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'lxc-locked',
    step: /^task log: backup in the background$/,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'lxc-backup',
    version: '9.2.11',
    step: 3,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'qemu-migrate',
    step: /^task log/,
    field: /^data\[lines\]$/,
    reason: wordsOfTools,
  },
  {
    flow: 'lxc-lifecycle',
    version: '8.4.21',
    step: 94,
    field: /^data\[lines\]$/,
    reason: waitedForLock,
  },
  {
    flow: 'lxc-snapshot',
    version: '9.2.11',
    step: 40,
    field: /^data\[lines\]$/,
    reason: waitedForLock,
  },
  {
    flow: 'lxc-parallel-create',
    version: '9.2.11',
    step: 10,
    field: /^data\[lines\]$/,
    reason: waitedForLock,
  },
  {
    flow: 'lxc-parallel-create',
    step: /^create 708[01] on/,
    field: /^(?:reason|message)$/,
    reason:
      'Which of its two looks finds the number taken depends on microseconds; in the fake it is always the first.',
  },
  {
    flow: 'qemu-lifecycle',
    step: /^graph data$/,
    field: /^data\[\*\]/,
    reason: 'The graph is that of an older machine with the same number, too.',
  },
  {
    flow: 'qemu-lifecycle',
    version: '8.4.21',
    field: /^connection$/,
    reason: hundredthRequest,
  },
  {
    flow: 'qemu-template',
    version: '9.2.11',
    step: /^poll task/,
    field: /^connection$/,
    reason: hundredthRequest,
  },
  {
    flow: 'ha',
    version: '8.4.21',
    step: 33,
    field: /^connection$/,
    reason: hundredthRequest,
  },
  {
    flow: 'qemu-clone',
    version: '9.2.11',
    step: /full clone of a running VM$/,
    field: /^data/,
    reason:
      'That a running machine cannot be copied is a fault of the QEMU of that host under software emulation.',
  },
  {
    flow: 'qemu-snapshot',
    version: '8.4.21',
    step: 44,
    field: /^data\.nodes/,
    reason: 'The raw disk lay on a storage that the recording does not name.',
  },
  {
    flow: 'ha',
    version: '9.2.11',
    step: 38,
    field: /\.lock$/,
    reason: 'A machine that the flow has nothing to do with was being suspended.',
  },
  {
    flow: 'ha',
    version: '8.4.21',
    step: 2,
    field: /^data\.lrm_status\..*\.results\./,
    reason: 'What HA did before the flow began.',
  },
  {
    flow: 'ha',
    version: '8.4.21',
    step: /^(?:status until started|where it runs$)/,
    field: /^data\[(?:service:ct:7340|lxc\/7340|lrm:pve3|qemu\/720[02])\]/,
    reason: 'HA looks every ten seconds, in a phase of its own, and other guests were destroyed meanwhile.',
  },
  {
    flow: 'no-quorum',
    version: '8.4.21',
    step: 15,
    field: /^data\[/,
    reason: 'What HA managed before the nodes died is not recorded.',
  },
  {
    flow: 'no-quorum',
    version: '8.4.21',
    step: 72,
    field: /\.hastate$/,
    reason: 'What HA managed before the nodes died is not recorded.',
  },
];

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
