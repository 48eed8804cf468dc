import { describe, expect, it } from 'vitest';
import { cleanText, saysNothing, verdictOf } from './words.ts';

/** What 8.4.21 and 9.2.11 said, with a 500 or at the end of a task. */
const seen: readonly (readonly [words: string, kind: string, reason: string])[] = [
  // The cluster
  ["ACL update failed: cfs-lock 'file-user_cfg' error: no quorum!", 'unavailable', 'no-quorum'],
  ["cfs-lock 'file-datacenter_cfg' error: no quorum!", 'unavailable', 'no-quorum'],
  ["update resources config failed: cfs-lock 'domain-ha' error: no quorum!", 'unavailable', 'no-quorum'],
  ['cluster not ready - no quorum?', 'unavailable', 'no-quorum'],
  [
    "unable to open file '/etc/pve/nodes/pve1/lxc/7420.conf.tmp.7863' - Permission denied",
    'unavailable',
    'no-quorum',
  ],
  [
    'RPCEnvironment init request failed: Unable to load access control list: Connection refused',
    'unavailable',
    'not-ready',
  ],
  ['ipcc_send_rec[1] failed: Connection refused', 'unavailable', 'cluster-files'],
  [
    "unable to open file '/etc/pve/nodes/pve1/lxc/101.conf.tmp.123' - Transport endpoint is not connected",
    'unavailable',
    'cluster-files',
  ],
  ['pve configuration filesystem (pmxcfs) not mounted', 'unavailable', 'cluster-files'],
  ['pve cluster filesystem not online', 'unavailable', 'cluster-files'],
  ["connection check for storage 'nfs' failed - server gone", 'unavailable', 'storage'],
  ["could not find storage 'gone'", 'not-found', 'storage'],
  [
    "content type 'rootdir' is not available or configured on storage 'iso'",
    'failed-precondition',
    'storage',
  ],
  ['running container can only be migrated in restart mode', 'failed-precondition', 'running'],
  ["timeout: no zvol device link for 'vm-101-disk-0' found after 300 sec.", 'deadline-exceeded', 'timeout'],
  // Locks and lost races
  ['CT is locked (backup)', 'aborted', 'locked'],
  ['CT is locked (disk)', 'aborted', 'locked'],
  ['VM is locked (clone)', 'aborted', 'locked'],
  ["can't lock file '/run/lock/lxc/pve-config-7080.lock' - got timeout", 'aborted', 'locked'],
  ["can't lock file '/var/lock/qemu-server/lock-210.conf' - got timeout", 'aborted', 'locked'],
  ["cfs-lock 'storage-shared' error: got lock request timeout", 'aborted', 'locked'],
  ['detected modified configuration - file changed by other user? Try again.', 'aborted', 'digest'],
  ['checksum mismatch (file change by other user?)', 'aborted', 'digest'],
  ['unable to connect to VM 101 qmp socket - timeout after 51 retries', 'unavailable', 'monitor'],
  ['unable to connect to VM 101 qga socket - timeout after 101 retries', 'unavailable', 'monitor'],
  // What exists
  ["CT 7400 already exists on node 'pve3'", 'already-exists', 'exists'],
  ["unable to create CT 7080 - CT 7080 already exists on node 'pve1'", 'already-exists', 'exists'],
  [
    "unable to create CT 7081 - close (rename) atomic file '/etc/pve/nodes/pve3/lxc/7081.conf' failed: File exists",
    'already-exists',
    'exists',
  ],
  ['unable to create VM 7221: config file already exists', 'already-exists', 'exists'],
  ["disk image '/var/lib/vz/images/7310/vm-7310-disk-7.raw' already exists", 'already-exists', 'exists'],
  ["snapshot name 'first' already used", 'already-exists', 'exists'],
  ["create ha group failed: ha group ID 'rec-g' already defined", 'already-exists', 'exists'],
  ["create ha rule failed: HA rule 'rec-r' already defined", 'already-exists', 'exists'],
  ["create resource failed: resource ID 'ct:7340' already defined", 'already-exists', 'exists'],
  ["create pool failed: pool 'rec-a' already exists", 'already-exists', 'exists'],
  ["create user failed: user 'dave@pve' already exists", 'already-exists', 'exists'],
  [
    "refusing to override existing file '/var/lib/vz/template/cache/rec-5_1.0_amd64.tar.gz'",
    'already-exists',
    'exists',
  ],
  ['update pools failed: VM 7320 is already a pool member', 'already-exists', 'member'],
  // Of virtual machines
  ['VM is paused - cannot shutdown', 'failed-precondition', 'paused'],
  ['MAX 8 vcpus allowed per VM on this node', 'failed-precondition', 'processors'],
  [
    "netdev net0: MTU '9000' is bigger than the bridge MTU '1500' - adjust the MTU",
    'failed-precondition',
    'mtu',
  ],
  ["Built-in cputype 'nope' is not defined (missing 'custom-' prefix?)", 'invalid-argument', 'invalid'],
  ['balloon value too large (must be smaller than assigned memory)', 'invalid-argument', 'invalid'],
  ['Failed to obtain guest migration lock - replication running?', 'aborted', 'locked'],
  ['clone failed: unexpected state change', 'aborted', 'locked'],
  ['unable to rollback to incomplete snapshot (snapstate = prepare)', 'failed-precondition', 'snapshot'],
  ["you can't rollback if vm is a template", 'failed-precondition', 'template'],
  [
    "snapshot 'a' needed by replication job '100-0' - run replication first",
    'failed-precondition',
    'replication',
  ],
  ["can't migrate VM which uses local devices: hostpci0", 'failed-precondition', 'local-devices'],
  ["ide3 - cloud-init drive is already attached at 'ide2'", 'failed-precondition', 'cloud-init'],
  [
    "cannot import from 'local:import/a.qcow2' - could not get size of local:import/a.qcow2",
    'failed-precondition',
    'image',
  ],
  [
    "qemu-img: Could not open '/var/tmp/a.qcow2': Image is not in qcow2 format",
    'failed-precondition',
    'image',
  ],
  ["VMs with 'clipboard' set to 'vnc' are not live migratable!", 'failed-precondition', 'local-devices'],
  ["Container Debian version '3' is to old", 'failed-precondition', 'unknown-system'],
  ["storage 'nas' is disabled", 'failed-precondition', 'storage'],
  ["storage 'local' is not configured for content-type 'import'", 'failed-precondition', 'storage'],
  ['unable to extract last line', 'unavailable', 'task-lost'],
  ["local: content type 'images' is not available on storage 'local'", 'failed-precondition', 'storage'],
  [
    "unsupported format 'qcow2' at /usr/share/perl5/PVE/Storage/LvmThinPlugin.pm line 80.",
    'failed-precondition',
    'unsupported',
  ],
  ['missing privileges to access nas:7200/vm-7200-disk-0.raw', 'permission-denied', 'rights'],
  [
    "lvcreate 'pve/vm-100-disk-0' error:   Cannot create new thin volume, free space in thin pool pve/data reached threshold.",
    'resource-exhausted',
    'storage-full',
  ],
  // What keeps a machine where it is
  [
    "can't migrate local disk 'local-lvm:vm-100-disk-0': online storage migration not possible if non-replicated snapshot exists",
    'failed-precondition',
    'local-snapshots',
  ],
  [
    "can't migrate local disk 'local-lvm:vm-100-disk-0': non-migratable snapshot exists",
    'failed-precondition',
    'local-snapshots',
  ],
  ["can't migrate local disk 'local:iso/a.iso': local cdrom image", 'failed-precondition', 'local-volumes'],
  // What does not
  ["Configuration file 'nodes/pve1/lxc/7999.conf' does not exist", 'not-found', 'guest'],
  ["Configuration file 'nodes/pve1/qemu-server/7030.conf' does not exist", 'not-found', 'guest'],
  ["unable to find configuration file for VM 7999 on node 'pve1'", 'not-found', 'guest'],
  ["resource 'ct:7999' does not exist in cluster", 'not-found', 'guest'],
  ["snapshot 'nope' does not exist", 'not-found', 'snapshot'],
  ["storage 'nope' does not exist", 'not-found', 'storage'],
  [
    "could not activate storage 'nope': storage 'nope' does not exist could not get storage information for 'nope': storage 'nope' does not exist",
    'not-found',
    'storage',
  ],
  ["pool 'nope' does not exist", 'not-found', 'pool'],
  ["create pool failed: parent 'rec-none' of pool 'rec-none/sub' does not exist", 'not-found', 'pool'],
  ["bridge 'vmbr9' does not exist", 'not-found', 'bridge'],
  [
    "unable to create CT 7031 - volume 'local:vztmpl/nope_1_amd64.tar.gz' does not exist",
    'not-found',
    'volume',
  ],
  ["volume 'local:snippets/nope.yaml' does not exist", 'not-found', 'volume'],
  ["volume_size_info on 'local:vztmpl/rec-1_1.0_amd64.tar.gz' failed - no format", 'not-found', 'volume'],
  ["disk 'scsi5' does not exist", 'not-found', 'object'],
  ["no such cluster node 'nope'", 'not-found', 'node'],
  [
    "hostname lookup 'nope' failed - failed to get address info for: nope: Temporary failure in name resolution",
    'not-found',
    'node',
  ],
  ["no such token 'nope' for user 'dave@pve'", 'not-found', 'object'],
  ["no such user ('dave@pve')", 'not-found', 'object'],
  ["ACL update failed: role 'Nope' does not exist", 'not-found', 'object'],
  ["ACL update failed: user 'nobody@pve' does not exist", 'not-found', 'object'],
  ["cannot delete service 'ct:7340', not HA managed!", 'not-found', 'member'],
  ['create ha rule failed: cannot use unmanaged resource(s) ct:7999.', 'not-found', 'member'],
  ['update pools failed: VM 7321 is not a pool member', 'not-found', 'member'],
  [
    "RRD error: rrdcached@unix:/var/run/rrdcached.sock: rrd_fetch_r failed: opening '/var/lib/rrdcached/db/pve2-vm/7999': No such file or directory",
    'not-found',
    'metrics',
  ],
  // States
  ['CT 7030 already running', 'failed-precondition', 'running'],
  ['VM 7200 already running', 'failed-precondition', 'running'],
  ['unable to destroy CT 7030 - container is running', 'failed-precondition', 'running'],
  ['VM 7200 is running - destroy failed', 'failed-precondition', 'running'],
  ["you can't convert a CT to template if the CT is running", 'failed-precondition', 'running'],
  ['Cannot do full clones on a running container without snapshots', 'failed-precondition', 'running'],
  ['Full clone of a running container is only possible from a snapshot', 'failed-precondition', 'running'],
  ["can't migrate running VM without --online", 'failed-precondition', 'running'],
  ["can't migrate running container without --online or --restart", 'failed-precondition', 'running'],
  ['CT 7030 not running', 'failed-precondition', 'not-running'],
  ['VM 7030 not running', 'failed-precondition', 'not-running'],
  ['VM 7250 is not running', 'failed-precondition', 'not-running'],
  ['No QEMU guest agent configured', 'failed-precondition', 'guest-agent'],
  ['QEMU guest agent is not running', 'failed-precondition', 'guest-agent'],
  ["can't remove CT 7020 - protection mode enabled", 'failed-precondition', 'protected'],
  [
    "cannot remove protected volume 'backup/vzdump-lxc-7330-2026_11_23-08_54_38.tar.zst' on 'local'",
    'failed-precondition',
    'protected',
  ],
  [
    "base volume 'local:7230/base-7230-disk-1.qcow2' is still in use by linked cloned",
    'failed-precondition',
    'in-use',
  ],
  [
    'unable to remove CT 7340 - used in HA resources and purge parameter not set.',
    'failed-precondition',
    'in-use',
  ],
  ['unable to create template, because CT contains snapshots', 'failed-precondition', 'in-use'],
  ["delete ha group failed: ha group is used by service 'ct:7340'", 'failed-precondition', 'in-use'],
  [
    "delete pool failed: pool 'rec-a' is not empty (contains pool 'rec-a/sub')",
    'failed-precondition',
    'in-use',
  ],
  ["you can't start a CT if it's a template", 'failed-precondition', 'template'],
  ["you can't start a vm if it's a template", 'failed-precondition', 'template'],
  ["you can't take a snapshot if it's a template", 'failed-precondition', 'template'],
  ["you can't convert a template to a template", 'failed-precondition', 'template'],
  [
    'KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS.',
    'failed-precondition',
    'no-kvm',
  ],
  ["can't clone CT to node 'pve2' (CT uses local storage)", 'failed-precondition', 'local-storage'],
  ["can't clone to non-shared storage 'local'", 'failed-precondition', 'local-storage'],
  [
    "update pools failed: VM 7320 belongs already to pool 'rec-a' and 'allow-move' is not set",
    'failed-precondition',
    'pool',
  ],
  ['disk is already at specified size', 'failed-precondition', 'unchanged'],
  ['migration aborted', 'failed-precondition', 'migration'],
  ['start failed: QEMU exited with code 1', 'failed-precondition', 'start'],
  // What a storage or a version cannot
  ['snapshot feature is not available', 'failed-precondition', 'unsupported'],
  ["can't rollback, more recent snapshots exist", 'failed-precondition', 'newer-snapshots'],
  [
    "can't rollback, 'd1' is not most recent snapshot on 'subvol-100-disk-0'",
    'failed-precondition',
    'newer-snapshots',
  ],
  [
    "Linked clone feature for 'btr:7050/subvol-7050-disk-0.subvol' is not available",
    'failed-precondition',
    'unsupported',
  ],
  [
    "Linked clone feature is not supported for 'local:7220/vm-7220-disk-0.qcow2' (scsi0)",
    'failed-precondition',
    'unsupported',
  ],
  ["storage 'btr' does not support 'vztmpl' content", 'failed-precondition', 'unsupported'],
  [
    "could not get storage information for 'btr': can't use storage 'btr' for backups - wrong content type",
    'failed-precondition',
    'unsupported',
  ],
  [
    'cannot resize subvolume - btrfs quotas are currently not supported',
    'failed-precondition',
    'unsupported',
  ],
  ['shrinking disks is not supported', 'failed-precondition', 'unsupported'],
  ['unable to shrink disk size', 'failed-precondition', 'unsupported'],
  [
    "clone failed: cannot mount subvol snapshots for storage type 'btrfs'",
    'failed-precondition',
    'unsupported',
  ],
  [
    "unable to create CT 7031 - unable to create image: qemu-img: /var/lib/vz/images/7031/vm-7031-disk-0.raw: The image size is too large for file format 'raw'",
    'failed-precondition',
    'unsupported',
  ],
  ["auto-generated role 'PVEAdmin' cannot be deleted", 'failed-precondition', 'unsupported'],
  ['cannot index groups: ha groups have been migrated to rules', 'unimplemented', 'ha-rules'],
  ["invalid parameter 'group': ha groups have been migrated to rules", 'unimplemented', 'ha-rules'],
  // Told of in its sources
  ["service 'ct:100' in error state, must be disabled and fixed first", 'failed-precondition', 'ha-error'],
  ['container did not stop', 'deadline-exceeded', 'shutdown'],
  [
    "unable to create CT 100 - unsupported and unexpected Ubuntu version '29.04'",
    'failed-precondition',
    'unknown-system',
  ],
  ["unable to create CT 100 - unsupported Fedora release '12'", 'failed-precondition', 'unknown-system'],
  [
    "unable to create CT 100 - Container Debian version '3' is too old",
    'failed-precondition',
    'unknown-system',
  ],
  ['unable to create CT 100 - unable to detect OS distribution', 'failed-precondition', 'unknown-system'],
  ['unable to create CT 100 - unrecognized gentoo version: x', 'failed-precondition', 'unknown-system'],
  ["net0: MTU size '9000' is bigger than bridge MTU '1500'", 'failed-precondition', 'mtu'],
  ['failed to verify file: image is not in qcow2 format', 'failed-precondition', 'image'],
  [
    "storage 'nas' does not allow content type 'rootdir' (Container)",
    'failed-precondition',
    'storage-content',
  ],
  ["storage 'nas' is disabled", 'failed-precondition', 'storage'],
  [
    "unable to activate storage 'nas' - directory '/mnt/pve/nas' does not exist or is unreachable",
    'unavailable',
    'storage',
  ],
  ["storage 'nas' is not online", 'unavailable', 'storage'],
  ["could not activate storage 'tank', zpool import failed", 'unavailable', 'storage'],
  ["rbd error: rbd: couldn't connect to the cluster!", 'unavailable', 'storage'],
  // Rights
  ["only root can set 'args' config", 'permission-denied', 'root-only'],
  ['Only root may use this option.', 'permission-denied', 'root-only'],
  [
    'Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)',
    'permission-denied',
    'root-only',
  ],
  ['Permission check failed (/vms/7001, VM.Allocate)', 'permission-denied', 'rights'],
  // Wrong parameters that only the work itself found
  [
    'Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 581.',
    'invalid-argument',
    'invalid',
  ],
  ["unable to parse directory volume name '1G'", 'invalid-argument', 'invalid'],
  ['no options specified', 'invalid-argument', 'invalid'],
  ["unable to delete required option 'rootfs'", 'invalid-argument', 'invalid'],
  ["unable to use snapshot name 'current' (reserved name)", 'invalid-argument', 'invalid'],
  ["parameter 'storage' not allowed for linked clones", 'invalid-argument', 'invalid'],
  ["'download' cannot be used together with 'start' or 'limit' parameters", 'invalid-argument', 'invalid'],
  ["value 'dave' does not look like a valid user name", 'invalid-argument', 'invalid'],
  ['SSH public key validation error', 'invalid-argument', 'invalid'],
  ['format error', 'invalid-argument', 'invalid'],
  [
    "create ha rule failed: 400 Rule 'rec-r3' is invalid.\nresources: rule is ineffective as there are less than two resources",
    'invalid-argument',
    'invalid',
  ],
  // Ends of tasks
  ['received interrupt', 'aborted', 'interrupted'],
  ['unable to read tail (got 0 bytes)', 'unavailable', 'task-lost'],
  ['unexpected status', 'unavailable', 'task-lost'],
  ['VM quit/powerdown failed - got timeout', 'deadline-exceeded', 'shutdown'],
  ["checksum mismatch: got '556f20a62ef90b0d' != expect '0000000000000000'", 'data-loss', 'checksum'],
  ['download failed: Connecting to 10.99.86.1:9... failed: Connection refused.', 'unavailable', 'download'],
  ['download failed: exit code 8', 'unavailable', 'download'],
  [
    "can't activate storage 'local' on node 'pve3': command '/usr/bin/ssh -o 'BatchMode=yes' 10.99.86.13 -- /usr/sbin/pvesm status --storage local' failed: exit code 255",
    'unavailable',
    'storage',
  ],
  ['job errors', 'internal', 'job'],
  // Lines of logs
  ["ERROR: Backup of VM 7999 failed - unable to find VM '7999'", 'not-found', 'guest'],
  [
    'ERROR: migration aborted (duration 00:00:00): lxc live migration is currently not implemented',
    'failed-precondition',
    'unsupported',
  ],
  [
    "ERROR: migration aborted (duration 00:00:00): Can't connect to destination address using public key",
    'unavailable',
    'node-unreachable',
  ],
  ['2026-11-23 09:11:10 ERROR 404: Not Found.', 'failed-precondition', 'download'],
  [
    'criu_version_ok: 767 No such file or directory - execing criu failed, is it installed?',
    'failed-precondition',
    'unsupported',
  ],
  ["command 'lxc-checkpoint -n 7020 -s -D /var/lib/vz/dump' failed: exit code 1", 'internal', 'command'],
  // Told of by others
  ['No space left on device', 'resource-exhausted', 'storage-full'],
  ["zfs error: cannot create 'rpool/data/vm-100-disk-0': out of space", 'resource-exhausted', 'storage-full'],
  ['unable to get any free VMID', 'resource-exhausted', 'vmids'],
];

describe('the words of a cluster', () => {
  it.each(seen)('%s', (words, kind, reason) => {
    expect(verdictOf(`${words}\n`)).toMatchObject({ kind, reason });
  });

  it('knows nothing of words that nobody has seen', () => {
    expect(
      verdictOf('clone failed: drive-scsi0: throttle node without file child node name!'),
    ).toBeUndefined();
    expect(verdictOf('')).toBeUndefined();
  });

  it('tells an end that only says that something failed', () => {
    expect(saysNothing('migration aborted')).toBe(true);
    expect(saysNothing('job errors')).toBe(true);
    expect(saysNothing("command 'x' failed: exit code 1")).toBe(true);
    expect(saysNothing('CT 100 already running')).toBe(false);
  });
});

describe('a text for people', () => {
  it.each([
    ['loses the place in Perl it came from', 'Nope. at /usr/share/perl5/PVE/Storage.pm line 581.\n', 'Nope.'],
    ['loses the file that Perl was reading', 'bad at /usr/x.pm line 5, <GEN12> line 700.', 'bad'],
    ['loses each of several places', 'a at /x.pm line 1. b at /y.pm line 22.', 'a b'],
    ['obeys no terminal', 'a\u001b[2Jb\r\nc\u202ed\u009be', 'a [2Jb c d e'],
    ['keeps what only looks alike', 'mounted at /mnt in line', 'mounted at /mnt in line'],
    ['is not torn in a pair of surrogates', `${'x'.repeat(599)}😀`, `${'x'.repeat(599)}\ufffd…`],
  ])('%s', (_name, text, expected) => {
    expect(cleanText(text)).toBe(expected);
  });

  it('is bounded, however long the text is, and takes no time for it', () => {
    expect(cleanText('at /'.repeat(1_000_000)).length).toBeLessThanOrEqual(601);
    expect(verdictOf("unable to open file '/etc/pve/".repeat(100_000))).toBeUndefined();
  });
});
