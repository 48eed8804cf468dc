import type { ErrorKind } from '#shared/errors.ts';

/** What a failure's text means to a program, and to a person. */
export interface Verdict {
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly nextStep?: string;
}

interface Row extends Verdict {
  readonly words: RegExp;
}

const quorum = {
  kind: 'unavailable',
  reason: 'no-quorum',
  nextStep: 'bring back enough nodes of the cluster for a majority: `pvecm status` on one of them tells',
} as const;
const withoutFiles = {
  kind: 'unavailable',
  reason: 'cluster-files',
  nextStep:
    'see that its pve-cluster runs (`systemctl status pve-cluster`); it takes orders again once that does',
} as const;
const locked = { kind: 'aborted', reason: 'locked' } as const;
const digest = { kind: 'aborted', reason: 'digest' } as const;
const exists = { kind: 'already-exists', reason: 'exists' } as const;
const invalid = { kind: 'invalid-argument', reason: 'invalid' } as const;
const lost = { kind: 'unavailable', reason: 'task-lost' } as const;
const precondition = (reason: string, nextStep?: string): Verdict => ({
  kind: 'failed-precondition',
  reason,
  ...(nextStep === undefined ? {} : { nextStep }),
});
const missing = (reason: string, nextStep?: string): Verdict => ({
  kind: 'not-found',
  reason,
  ...(nextStep === undefined ? {} : { nextStep }),
});
const guest = missing('guest', 'look where it is now: guests move between nodes');
const running = precondition('running');
const notRunning = precondition('not-running');
const guestAgent = precondition('guest-agent', 'install and start qemu-guest-agent in the guest');
const unsupported = precondition('unsupported');
const inUse = precondition('in-use');
const root = {
  kind: 'permission-denied',
  reason: 'root-only',
  nextStep: 'no token may do this: root has to, on the node itself',
} as const;
const foreign = precondition(
  'unknown-system',
  'its cluster does not know this system, or this version of it: upgrade that node, or name another image',
);
const full = { kind: 'resource-exhausted', reason: 'storage-full' } as const;

/**
 * The words of Proxmox VE 8.4.21 and 9.2.11, the first that fits decides. What was seen stands in
 * test/golden/proxmox-*; the others are told of in its sources and in reports.
 */
export const knownWords: readonly Row[] = [
  // What every request begins with, on the node that was asked: nothing of it was done.
  { words: /RPCEnvironment init request failed/, ...withoutFiles, reason: 'not-ready' },
  { words: /ipcc_send_rec\[\d+\] failed|Transport endpoint is not connected/, ...withoutFiles },
  { words: /\(pmxcfs\) not mounted|cluster filesystem not online/, ...withoutFiles },
  // The cluster itself: /etc/pve turns read-only without a majority.
  { words: /no quorum|cluster not ready/, ...quorum },
  { words: /unable to open file '\/etc\/pve\/.* - (?:Permission denied|Read-only)/, ...quorum },
  { words: /got lock request timeout|got lock timeout|unable to acquire .*lock|cfs-lock '/, ...locked },
  {
    words: /Failed to obtain guest migration lock|unexpected state change|changed state unexpectedly/,
    ...locked,
  },
  { words: /can't a?c?quire lock|can't lock file|error getting lock|trying to acquire lock/, ...locked },
  {
    words: /\bis locked(?: \(|$)/,
    ...locked,
    nextStep:
      'wait until what holds the lock has ended; a lock that a crash left: `pct unlock` or `qm unlock`',
  },
  {
    words: /detected modified configuration|checksum mismatch \(file change|file changed by other/,
    ...digest,
  },
  { words: /checksum mismatch: got/, kind: 'data-loss', reason: 'checksum' },

  { words: /unable to (?:read tail|extract last line)|unexpected status|worker died/, ...lost },
  { words: /received interrupt|interrupted by signal/, kind: 'aborted', reason: 'interrupted' },
  {
    words: /quit\/powerdown failed|shutdown.* got timeout|container did not stop/,
    kind: 'deadline-exceeded',
    reason: 'shutdown',
    nextStep: 'the guest does not heed a shutdown: stop it',
  },

  { words: /only root can pass arbitrary/i, ...invalid },
  { words: /[Oo]nly root (?:can|may)|only allowed for root@pam|need proper ticket/, ...root },
  {
    words: /Permission check failed|missing privileges to access/,
    kind: 'permission-denied',
    reason: 'rights',
  },

  { words: /agent is in frozen state/, ...precondition('frozen', 'let its file systems go on: drover thaw') },
  { words: /Failed to execute child process/, ...precondition('command') },
  {
    words: /guest-exec has been disabled/,
    ...precondition('guest-agent', "allow guest-exec in the configuration of the guest's agent"),
  },
  {
    words: /No QEMU guest agent configured/,
    ...precondition('guest-agent', 'take `agent: false` out of vm in its spec, and stop and start it'),
  },
  { words: /guest agent/i, ...guestAgent },
  // Somebody else talks to the machine, or its agent: what came before may have been done.
  { words: /unable to connect to VM \d+ \w+ socket/, kind: 'unavailable', reason: 'monitor' },
  { words: /No space left|out of (?:data )?space|not enough (?:free )?space|[Qq]uota exceeded/, ...full },
  { words: /insufficient (?:free )?space|no free space|lvcreate .* free extents/i, ...full },
  { words: /free space in (?:thin )?pool .* (?:reached|threshold)/i, ...full },
  { words: /Cannot allocate memory|out of memory/i, kind: 'resource-exhausted', reason: 'memory' },
  { words: /free VM ?ID/i, kind: 'resource-exhausted', reason: 'vmids' },

  { words: /already exists|already defined|already used|File exists/, ...exists },
  { words: /refusing to override existing/, ...exists },
  { words: /is already a pool member/, kind: 'already-exists', reason: 'member' },
  { words: /belongs already to pool/, ...precondition('pool') },

  // A storage that is away: nothing of it is gone.
  {
    words: /does not exist or is unreachable|couldn't connect to the cluster|connection check for storage '/,
    kind: 'unavailable',
    reason: 'storage',
  },

  {
    words: /execing criu failed/,
    ...precondition('unsupported', 'suspending a container needs criu on its node'),
  },
  {
    words: /in error state, must be disabled/,
    ...precondition(
      'ha-error',
      'HA has given it up: `ha-manager set` with `--state disabled` has it begin anew',
    ),
  },
  { words: /ha groups have been migrated/, kind: 'unimplemented', reason: 'ha-rules' },
  { words: /Configuration file '.*' does not exist|unable to find (?:configuration file|VM ')/, ...guest },
  { words: /\b(?:CT|VM) \d+ does not exist|resource '.*' does not exist in cluster/, ...guest },
  { words: /storage '[^']*' does not exist|no such storage|not find storage '/, ...missing('storage') },
  { words: /snapshot '[^']*' does not exist/, ...missing('snapshot') },
  { words: /pool '[^']*' does not exist/, ...missing('pool') },
  { words: /bridge '[^']*' does not exist/, ...missing('bridge') },
  { words: /volume '[^']*' does not exist|volume_size_info on .* failed/, ...missing('volume') },
  { words: /no such task/, ...missing('task') },
  { words: /no such cluster node|hostname lookup '/, ...missing('node') },
  { words: /is not a pool member|not HA managed|unmanaged resource/, ...missing('member') },
  { words: /RRD error/, ...missing('metrics') },
  { words: /does not exist|no such |not found|No such file/, ...missing('object') },

  // PVE::Storage::ZFSPoolPlugin.
  { words: /not most recent snapshot|more recent snapshots exist/, ...precondition('newer-snapshots') },
  { words: /already running|is running\b|on a running container|of a running/, ...running },
  { words: /can't .* if the CT is running|can't migrate running|^running container can only/, ...running },
  { words: /not running/, ...notRunning },
  {
    words: /protection mode|protected volume/,
    ...precondition('protected', 'take the protection away first, if it is really meant'),
  },
  { words: /still in use|used in HA|used by|contains snapshots|is not empty|has snapshots/, ...inUse },
  { words: /if (?:it's|vm is) a template|template to a template/, ...precondition('template') },
  { words: /VM is paused/, ...precondition('paused', 'resume it first, or end it') },
  {
    words: /MAX \d+ vcpus allowed/,
    ...precondition('processors', 'fewer cores, or a node that has as many'),
  },
  {
    words: /bridge MTU/,
    ...precondition('mtu', 'a smaller mtu of its network, or a larger one of the bridge'),
  },
  {
    words: /incomplete snapshot/,
    ...precondition('snapshot', 'remove that snapshot: it was never finished'),
  },
  {
    words: /needed by replication job|Cannot live-migrate replicated/,
    ...precondition('replication', 'see to the replication jobs of the guest'),
  },
  {
    words: /uses local devices|not live migratable|missing mapped devices|uses following mapped devices/,
    ...precondition('local-devices'),
  },
  { words: /Too many unused volumes/, ...precondition('unused', 'remove its unused disks') },
  { words: /drive is already attached/, ...precondition('cloud-init') },
  {
    words: /Image is not in \w+ format|could not get (?:file )?size of|failed to query (?:file|size) inf/i,
    ...precondition('image', 'see that the image is whole, and what its name says: qcow2, raw or vmdk'),
  },
  {
    words:
      /storage '[^']*' is disabled|ontent type '[^']*' is not available o[nr] |configured for content-type/,
    ...precondition('storage', 'see the storages of that node, and what each takes'),
  },
  {
    words: /KVM virtualisation configured, but not available/,
    ...precondition(
      'no-kvm',
      'enable virtualization in the firmware of the node, or say `kvm: false` in vm of its spec',
    ),
  },
  {
    words: /unable to clone mountpoint|(?:Linked [Cc]lone|Template) feature|cannot clone TPM state/,
    ...unsupported,
  },
  { words: /can't clone (?:CT )?to |uses local storage/, ...precondition('local-storage') },
  { words: /target is local node/, ...precondition('same-node') },
  { words: /hotplug problem/, ...precondition('hotplug', 'shut the guest down to let the change take hold') },
  { words: /already at specified size/, ...precondition('unchanged') },
  {
    words: /does not (?:allow|support) (?:content type 'rootdir'|container directories)/,
    ...precondition('storage-content', 'allow "rootdir" on that storage, or name another `root.pool`'),
  },
  {
    words: /not available$|not supported|does not support|wrong content type|currently not implemented/,
    ...unsupported,
  },
  { words: /unsupported format|cannot migrate from storage type|no matching import/, ...unsupported },
  { words: /unable to shrink|shrinking disks|cannot mount .* for storage type/, ...unsupported },
  { words: /too large for file format|cannot be deleted|'allow-move' is not set/, ...unsupported },
  {
    words: /online storage migration not possible|non-migratable snapshot exists/,
    ...precondition(
      'local-snapshots',
      'its snapshots stay on its node: remove them, or stop it first where they can be copied',
    ),
  },
  {
    words: /local cdrom image|as it's a clone of|referenced by linked clone|owned by other VM/,
    ...precondition('local-volumes', 'put what it names on a shared storage, or take it out'),
  },
  { words: /Can't connect to destination address/, kind: 'unavailable', reason: 'node-unreachable' },
  { words: /migration aborted/, ...precondition('migration') },

  { words: /ERROR 40[0-9]: /, ...precondition('download', 'check the address of the image') },
  {
    words: /'skopeo (?:copy|list-tags) .*failed|manifest unknown/,
    ...precondition('download', 'check name and tag; its registry must answer that node, without a login'),
  },
  { words: /Install 'skopeo'/, ...precondition('download', 'install the package skopeo on that node') },
  { words: /download failed/, kind: 'unavailable', reason: 'download' },
  {
    words: /activate storage|is not online|storage .* not available on/,
    kind: 'unavailable',
    reason: 'storage',
  },
  {
    words: /unsupported [\w ]+ (?:version|release) '|unable to detect OS distribution|no such OS type/,
    ...foreign,
  },
  {
    words: /version '[^']*' is too? old|unable to read version info|unrecognized \w+ (?:version|rel)/,
    ...foreign,
  },
  {
    words: /not look like a template|no 'sbin' directory|less than 10 members in|failed to verify file/,
    ...precondition(
      'image',
      'name an archive with an init in it, or a disk of the kind that its ending tells',
    ),
  },
  {
    words: /no options specified|unable to parse|not look like|unable to use snapshot name|is invalid/,
    ...invalid,
  },
  { words: /unable to delete required|not allowed for|cannot be used together|format error/, ...invalid },
  { words: /balloon value too large|minimum memory must be|cputype '[^']*' is not defined/, ...invalid },
  { words: /validation error|unknown option|wrong file extension|same time/, ...invalid },
  { words: /got timeout|timed out|^timeout: no zvol/, kind: 'deadline-exceeded', reason: 'timeout' },
  { words: /start failed|startup for container/, ...precondition('start') },
  { words: /job errors/, kind: 'internal', reason: 'job' },
  { words: /failed: exit code|exited with code/, kind: 'internal', reason: 'command' },
];
