import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from '../host/command.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { refuse } from './manifest.ts';

const shiftMs = 30 * 60_000;

/**
 * Adds the base to the owners of everything below a directory, each inode once. A change of owner takes the
 * setuid bits with it, so they are set again, and file capabilities, so those are gone. Neither links nor
 * mounts are followed. perl-base is essential in Debian.
 */
const script = `
use strict; use POSIX ();
my ($base, $size, $root) = @ARGV; my %seen; my @todo = (".");
chdir $root or die "chdir: $!\\n"; my $device = (lstat ".")[0];
while (@todo) { my $name = pop @todo;
  my ($dev, $ino, $mode, $links, $uid, $gid) = lstat $name or die "lstat: $!\\n";
  next if $dev != $device || ($links > 1 && !-d _ && $seen{$ino}++);
  my $isDirectory = -d _; my $isLink = -l _;
  if ($uid >= $size || $gid >= $size) { print "beyond $uid $gid"; exit 3 }
  if ($base > 0) { POSIX::lchown($uid + $base, $gid + $base, $name) or die "lchown: $!\\n";
    if (!$isLink && ($mode & 06000)) { chmod($mode & 07777, $name) or die "chmod: $!\\n" } }
  next unless $isDirectory;
  opendir(my $entries, $name) or die "opendir: $!\\n";
  while (defined(my $entry = readdir $entries)) {
    push @todo, "$name/$entry" unless $entry eq "." || $entry eq ".." } }
`;

/** Gives an unpacked root that nobody uses yet to the range. invalid-argument: owners beyond it. */
export async function shiftIds(
  run: HostCommands['run'],
  rootfs: string,
  { base, size }: IdRange,
  signal: AbortSignal,
): Promise<void> {
  const args = ['-e', script, `${base}`, `${size}`, rootfs];
  const { exitCode, stdout, stderr } = await run('perl', args, { signal, timeoutMs: shiftMs });
  if (exitCode === 0) return;
  const [word, uid, gid] = stdout.split(' ');
  if (exitCode === 3 && word === 'beyond') {
    throw refuse(`a file of user ${uid} and group ${gid}; an instance has ids below ${size}`);
  }
  const kind = /No space left|quota exceeded/i.test(stderr) ? 'resource-exhausted' : 'unavailable';
  throw new DroverError(kind, `owners could not be shifted: ${stderr.trim().slice(0, 300)}`);
}
