import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from './command.ts';

/**
 * Changes the owners of all files of a tree from one range of ids to another. A file that the first range
 * does not own is left alone, so that a walk that was cut off is finished by the next. It goes from directory
 * to directory by name and stays where it came to, follows no link, and stays on one file system. Owners
 * change before modes are set again: chown(2) takes setuid bits and capabilities away. Capabilities of the
 * third version name the root that they count for, which moves as well. Source: capabilities(7).
 */
const script = `
use strict; use POSIX ();
my ($root, $from, $size, $to, $get, $set) = @ARGV;
$_ += 0 for $from, $size, $to, $get, $set;
my $name = "security.capability";
sub moved { my ($id) = @_; $id >= $from && $id < $from + $size ? $id - $from + $to : $id }
sub shift_one { my ($file, @was) = @_;
  my ($uid, $gid) = (moved($was[4]), moved($was[5]));
  return if $uid == $was[4] && $gid == $was[5];
  my $isLink = ($was[2] & 0170000) == 0120000;
  my ($path, $value) = ($file, "\\0" x 64);
  my $length = ($was[2] & 0170000) == 0100000 ? syscall($get, $path, $name, $value, 64) : -1;
  POSIX::lchown($uid, $gid, $file) or die "chown: $!\\n";
  $isLink or chmod($was[2] & 07777, $file) or die "chmod: $!\\n";
  return if $length < 20;
  $value = substr($value, 0, $length);
  substr($value, 20, 4) = pack("V", moved(unpack("V", substr($value, 20, 4)))) if $length >= 24;
  syscall($set, $path, $name, $value, $length, 0) == 0 or die "capabilities: $!\\n" }
chdir $root or die "$root: $!\\n";
my @top = lstat "." or die "$root: $!\\n";
sub enter { my ($name, @was) = @_;
  chdir "./$name" or die "chdir: $!\\n";
  my @now = lstat "."; die "moved meanwhile\\n" unless $now[0] == $was[0] && $now[1] == $was[1];
  \\@now }
sub names { opendir(my $all, ".") or die "readdir: $!\\n";
  my @all = grep { !/^\\.\\.?\\z/ } readdir $all; \\@all }
shift_one(".", @top);
my @trail = ([\\@top, names()]);
while (@trail) {
  my ($here, $left) = @{$trail[-1]};
  my $next = pop @$left;
  if (!defined $next) {
    pop @trail; last unless @trail;
    chdir ".." or die "chdir: $!\\n";
    my ($above) = @{$trail[-1]}; my @now = lstat ".";
    die "moved meanwhile\\n" unless $now[0] == $above->[0] && $now[1] == $above->[1]; next }
  my @was = lstat "./$next" or die "lstat: $!\\n";
  next if $was[0] != $top[0];
  shift_one("./$next", @was);
  next unless ($was[2] & 0170000) == 0040000;
  enter($next, @was); push @trail, [\\@was, names()] }
`;

/** lgetxattr and lsetxattr. */
const callsOf: Readonly<Record<string, readonly number[]>> = { x64: [192, 189], arm64: [9, 6] };
const shiftMs = 60 * 60_000;

interface Ids {
  readonly base: number;
  readonly size: number;
}

/**
 * May be repeated. The ranges are of one size and do not overlap; nobody else changes the tree meanwhile.
 * Spawns once.
 */
export async function shiftTree(
  run: HostCommands['run'],
  tree: { readonly path: string; readonly from: Ids; readonly to: Ids },
  signal: AbortSignal,
): Promise<void> {
  const { path, from, to } = tree;
  checkShift(from, to);
  const calls = callsOf[process.arch];
  if (calls === undefined) throw new DroverError('unimplemented', `not known for ${process.arch}`);
  const args = [path, from.base, from.size, to.base, ...calls].map(String);
  const result = await run('perl', ['-e', script, '--', ...args], { signal, timeoutMs: shiftMs });
  if (result.exitCode === 0) return;
  const words = result.stderr.trim().slice(0, 500);
  const kind = /no space|quota/i.test(words) ? 'resource-exhausted' : 'unavailable';
  throw new DroverError(kind, `changing owners: ${words}`);
}

/** Overlapping ranges could not tell what was changed already. failed-precondition. */
export function checkShift(from: Ids, to: Ids): void {
  const overlap = from.base < to.base + to.size && to.base < from.base + from.size;
  if (from.size <= to.size && !overlap) return;
  throw new DroverError(
    'failed-precondition',
    `cannot give files of the ids ${from.base}+${from.size} to ${to.base}+${to.size}`,
    { nextStep: 'choose ranges that are as large and do not overlap' },
  );
}
