import type { CommandResult, HostCommands } from './command.ts';

/**
 * Mounts an overlay over a directory whose owners appear shifted: an idmapped bind of the directory, the
 * overlay over that, and the bind detached again; the overlay keeps its own reference. mount(8) of Debian 12
 * cannot map ids and Node has no system calls; perl-base is essential in Debian. The bind is read-only, so
 * that nobody who removes a tree around it reaches the directory, and the overlay takes it by descriptor:
 * were it unmounted meanwhile, there is an error and no overlay over an empty directory. A child holds the
 * user namespace that the mapping is read from; it ends with its parent.
 */
const script = `
use strict;
my ($lower, $bind, $target, $data, $base, $size, $unshare, $mount, $umount) = @ARGV;
$_ += 0 for $base, $size, $unshare, $mount, $umount;
my ($empty, $type) = ("", "overlay");
sub check { $_[0] >= 0 or die "$_[1]: $!\\n" }
pipe my $ready, my $isReady; pipe my $done, my $isDone;
defined(my $pid = fork) or die "fork: $!\\n";
if (!$pid) {
  close $ready; close $isDone;
  syscall($unshare, 0x10000000) == 0 or exit 1;
  syswrite $isReady, "1"; sysread $done, my $end, 1; exit 0 }
close $isReady; close $done;
sysread($ready, my $go, 1) or die "no user namespace here\\n";
for my $kind ("uid", "gid") {
  open my $map, ">", "/proc/$pid/\${kind}_map" or die "\${kind}_map: $!\\n";
  defined syswrite $map, "0 $base $size" or die "\${kind}_map: $!\\n" }
open my $namespace, "<", "/proc/$pid/ns/user" or die "user namespace: $!\\n";
close $isDone; waitpid $pid, 0;
check(my $tree = syscall(428, -100, $lower, 0x80101), "open_tree");
my $attributes = pack "Q4", 0x100001, 0, 0, fileno $namespace;
check(syscall(442, $tree, $empty, 0x1000, $attributes, 32), "mapping ids");
check(syscall(429, $tree, $empty, -100, $bind, 4), "move_mount");
my $layers = "lowerdir=/proc/self/fd/$tree,$data";
my $result = syscall($mount, $type, $target, $type, 4, $layers); my $why = "$!";
check(syscall($umount, $bind, 10), "umount of the mapped directory");
die "overlay: $why\\n" if $result < 0;
`;

/** unshare, mount and umount2; the newer calls have one number everywhere. */
const callsOf: Readonly<Record<string, readonly number[]>> = { x64: [272, 165, 166], arm64: [97, 40, 39] };

export interface IdmappedOverlay {
  readonly lower: string;
  /** An empty directory that the mapped lower is on for a moment; a tool that is killed leaves it there. */
  readonly bind: string;
  readonly target: string;
  /** Options of the overlay but its lower directory. */
  readonly data: string;
  readonly range: { readonly base: number; readonly size: number };
}

/** What the tool said; the mount table says whether it did it. Spawns once. */
export async function mountIdmapped(
  run: HostCommands['run'],
  overlay: IdmappedOverlay,
  options: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<CommandResult> {
  const calls = callsOf[process.arch];
  if (calls === undefined) return { exitCode: 1, stdout: '', stderr: `not known for ${process.arch}` };
  const { lower, bind, target, data, range } = overlay;
  const args = [lower, bind, target, data, range.base, range.size, ...calls].map(String);
  return run('perl', ['-e', script, '--', ...args], options);
}
