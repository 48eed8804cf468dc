import type { Readable } from 'node:stream';
import type { Clock } from '#shared/clock.ts';
import { drained } from '#shared/drained.ts';
import { DroverError } from '#shared/errors.ts';
import type { TerminalSize } from '#shared/streams.ts';
import type { HostCommands } from '../host/command.ts';

/**
 * Watches over one lxc-attach or lxc-console, which are its children and never the agent's: it reaps them
 * while the agent is stopped or gone, and writes the exit code down. It gives them pipes, or a terminal of
 * its own, never ours. Agent gone is as good as hung up, but that a command without a terminal goes on.
 *
 * Both ways go frames: a length of four bytes, a letter, the rest. To it: S start, with NULs between the
 * fields; I input; E end of input; R size; K signal; H hang up; A kill. From it: P the command runs, and its
 * number; O output; R errors; X its end. A command runs once its file is no longer lxc-attach's. LXC has its
 * side of our terminal put a carriage return before every line feed, besides the one of the terminal inside:
 * that is taken back. perl-base is essential in Debian. Sources: ioctl_tty(2), pidfd_open(2) 434,
 * pidfd_send_signal(2) 424.
 */
const script = `
use strict; use POSIX (); use Fcntl;
$SIG{PIPE} = "IGNORE"; binmode STDIN; binmode STDOUT;
my ($in, $out, $gone, $tosend, $inend) = ("", "", 0, "", 0);
sub frame { $out .= pack("N", length $_[0]) . $_[0] unless $gone }
sub more { my $n = sysread(STDIN, $in, 65536, length $in); return $n || (!defined $n && $!{EINTR}) }
sub take { return if length $in < 4; my $l = unpack("N", $in); return if length $in < 4 + $l;
  my $f = substr($in, 4, $l); substr($in, 0, 4 + $l) = ""; return $f }
my $first; until (defined($first = take())) { more() or exit 1 }
my ($kind, $owner, $tty, $columns, $rows, $exitFile, @command) = split /\\0/, substr($first, 1), -1;
# Begins no UTF-8 text, so nobody types it: the key that would leave lxc-console.
push @command, "-e", "\\xff" if $kind eq "console";
my ($master, $slave, $inR, $inW, $outR, $outW, $errR, $errW);
if ($tty) {
  sysopen($master, "/dev/ptmx", O_RDWR | O_NOCTTY) or die "ptmx: $!";
  my $zero = pack("i", 0); ioctl($master, 0x40045431, $zero) or die "unlock: $!";
  my $number = pack("i", 0); ioctl($master, 0x80045430, $number) or die "number: $!";
  sysopen($slave, "/dev/pts/" . unpack("i", $number), O_RDWR | O_NOCTTY) or die "pts: $!";
  ioctl($master, 0x5414, pack("SSSS", $rows, $columns, 0, 0));
  ($inW, $outR) = ($master, $master);
} else {
  pipe($inR, $inW) && pipe($outR, $outW) && pipe($errR, $errW) or die "pipe: $!";
  chown($owner, $owner, $inR, $outW, $errW);
}
my $tool = fork(); defined $tool or die "fork: $!";
if ($tool == 0) {
  POSIX::setsid();
  if ($tty) { ioctl($slave, 0x540E, 0); POSIX::dup2(fileno $slave, $_) for 0, 1, 2 }
  else { POSIX::dup2(fileno $inR, 0); POSIX::dup2(fileno $outW, 1); POSIX::dup2(fileno $errW, 2) }
  POSIX::close($_) for 3 .. 255;
  %ENV = (PATH => "/nonexistent", LC_ALL => "C"); $SIG{PIPE} = "DEFAULT";
  exec { $command[0] } @command; POSIX::_exit(126) }
close $_ for grep { defined } $slave, $inR, $outW, $errW;
for ($outR, $errR, $inW, *STDOUT) { fcntl($_, F_SETFL, fcntl($_, F_GETFL, 0) | O_NONBLOCK) if defined $_ }
my $watch = syscall(434, $tool, 0);
my ($pid, $handle, $open, $status) = (0, -1, 1, undef);
sub file { my @s = stat "/proc/$_[0]/exe" or return ""; return "$s[0]:$s[1]" }
sub look {
  # Until it has set its terminal up it throws away what comes.
  if ($kind eq "console") { my $modes = POSIX::Termios->new; $modes->getattr(fileno $master);
    return if $modes->getlflag & POSIX::ICANON(); $pid = $tool; frame("P$pid"); return }
  my $own = file($tool) or return;
  my @near;
  if (open(my $f, "<", "/proc/$tool/task/$tool/children")) { @near = split / /, <$f> // "" }
  elsif (opendir(my $all, "/proc")) { @near = grep { /^\\d+$/ } readdir $all }
  for my $p (@near) {
    open(my $f, "<", "/proc/$p/stat") or next; my $line = <$f> // ""; close $f;
    next unless $line =~ /^\\d+ \\(.*\\) (\\S) (\\d+) /s && $2 == $tool && $1 ne "Z";
    my $found = file($p); next if $found eq "" || $found eq $own;
    $pid = $p + 0; $handle = syscall(434, $pid, 0); frame("P$pid"); return } }
sub hurt { my ($n) = @_;
  if ($kind eq "console") { kill $n, $tool } elsif ($handle >= 0) { syscall(424, $handle, $n, 0, 0) } }
sub hangUp { $gone = 1; $out = ""; $open = 0;
  if ($tty) { hurt(1) } else { $inend = 1 } }
my $held = "";
sub plain { my $d = $held . $_[0]; $held = $d =~ s/\\r\\z// ? "\\r" : ""; $d =~ s/\\r\\n/\\n/g; return $d }
sub done { my ($code) = @_; return if $exitFile eq "";
  if (open(my $f, ">", "$exitFile.new")) { print $f $code; close $f; rename "$exitFile.new", $exitFile } }
my $delay = 0.001;
while (1) {
  if (!defined $status && waitpid($tool, POSIX::WNOHANG()) == $tool) {
    $status = $? & 127 ? "lost" : $? >> 8; done($status); POSIX::close($watch) if $watch >= 0; $watch = -1 }
  if (!$pid && !defined $status) { look(); $delay = $delay < 0.02 ? $delay * 1.5 : 0.02 }
  my ($r, $w) = ("", "");
  vec($r, 0, 1) = 1 if $open && length $tosend < 262144;
  my $room = $gone || length $out < 65536;
  for my $h (grep { defined } $outR, $errR) { vec($r, fileno $h, 1) = 1 if $room }
  vec($r, $watch, 1) = 1 if $watch >= 0;
  vec($w, fileno $inW, 1) = 1 if defined $inW && length $tosend && !defined $status;
  vec($w, 1, 1) = 1 if length $out;
  my $wait = defined $status ? ($room ? 0 : undef) : $pid ? ($watch < 0 ? 0.02 : undef) : $delay;
  my $n = select($r, $w, undef, $wait); $n = 0 if $n < 0;
  my $quiet = $room;
  if ($n > 0) {
    if (vec($w, 1, 1)) { my $k = syswrite(STDOUT, $out);
      if (defined $k) { substr($out, 0, $k) = "" }
      elsif (!$!{EAGAIN} && !$!{EINTR}) { $gone = 1; $out = "" } }
    for my $i (0, 1) { my $h = $i ? $errR : $outR; next unless defined $h && vec($r, fileno $h, 1);
      my $k = sysread($h, my $data, 32768);
      if ($k) { $quiet = 0; $data = plain($data) if $tty; frame(($i ? "R" : "O") . $data) if length $data }
      elsif (!defined $k && ($!{EAGAIN} || $!{EINTR})) {}
      elsif ($i) { $errR = undef } else { $outR = undef } }
    if (defined $inW && length $tosend && vec($w, fileno $inW, 1)) {
      my $k = syswrite($inW, $tosend, 4096);
      if (defined $k) { substr($tosend, 0, $k) = "" } elsif (!$!{EAGAIN}) { $tosend = ""; $inend = 1 } }
    if ($open && vec($r, 0, 1)) {
      if (!more()) { hangUp() }
      while (defined(my $f = take())) {
        my ($letter, $rest) = (substr($f, 0, 1), substr($f, 1));
        if ($letter eq "I") { $tosend .= $rest }
        elsif ($letter eq "E") { if ($tty) { $tosend .= "\\004" } else { $inend = 1 } }
        elsif ($letter eq "R" && $tty) { my ($c, $l) = split / /, $rest;
          ioctl($master, 0x5414, pack("SSSS", $l, $c, 0, 0)) }
        elsif ($letter eq "K") { hurt($rest + 0) }
        elsif ($letter eq "H") { hangUp(); last }
        elsif ($letter eq "A") { syscall(424, $handle, 9, 0, 0) if $handle >= 0; kill 9, $tool } } } }
  if ($inend && !$tty && defined $inW && $tosend eq "") { close $inW; $inW = undef }
  next unless defined $status && $quiet && ($gone || !vec($r, 0, 1));
  frame("X$status"); fcntl(STDOUT, F_SETFL, fcntl(STDOUT, F_GETFL, 0) & ~O_NONBLOCK);
  while (length $out) { my $k = syswrite(STDOUT, $out); last unless defined $k; substr($out, 0, $k) = "" }
  exit 0 }
`;

export interface SessionOptions {
  readonly kind: 'attach' | 'console';
  /** Gets the pipes: what is opened anew by name inside has to be its own. */
  readonly owner: number;
  readonly size: TerminalSize | undefined;
  /** Gets the exit code, or "lost". The watcher names it as an argument and is known by it. Empty: none. */
  readonly exitFile: string;
  readonly command: readonly string[];
}

/** One frame: a letter and the rest. */
export interface SessionFrame {
  readonly letter: string;
  readonly data: Buffer;
}

export interface LxcSession {
  readonly frames: AsyncIterator<SessionFrame>;
  /** Resolves when more may be written. failed-precondition: it has ended. */
  send(letter: 'I' | 'E' | 'R' | 'K' | 'H' | 'A', data?: Uint8Array | string): Promise<void>;
  /** Our part ends. */
  close(): void;
  /** For a watcher that hangs itself. */
  kill(): void;
}

/** Starts the watcher and its tool. */
export async function openLxcSession(
  { commands }: { readonly commands: HostCommands; readonly clock: Clock },
  options: SessionOptions,
  signal: AbortSignal,
): Promise<LxcSession> {
  const perl = await commands.start('perl', ['-e', script, options.exitFile], {
    pipes: ['write', 'read', 'ignore'],
    signal,
  });
  const input = perl.writable(0);
  const send: LxcSession['send'] = async (letter, data = '') => {
    if (input.destroyed || input.writableEnded)
      throw new DroverError('failed-precondition', 'the command has ended');
    if (!input.write(frame(letter, data))) await Promise.race([drained(input), perl.exitCode]);
  };
  const { kind, owner, size, exitFile, command } = options;
  const { columns, rows } = size ?? { columns: 0, rows: 0 };
  const terminal = size === undefined ? '' : '1';
  const fields = [kind, owner, terminal, Math.trunc(columns), Math.trunc(rows), exitFile, ...command];
  input.write(frame('S', fields.join('\0')));
  return { frames: readFrames(perl.readable(1)), send, close: perl.close, kill: perl.kill };
}

function frame(letter: string, data: Uint8Array | string): Buffer {
  const rest = Buffer.from(data as string);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(rest.length + 1);
  head.write(letter, 4, 'latin1');
  return Buffer.concat([head, rest]);
}

async function* readFrames(stream: Readable): AsyncGenerator<SessionFrame> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (rest.length >= 5 && rest.length >= 4 + rest.readUInt32BE(0)) {
        const end = 4 + rest.readUInt32BE(0);
        yield { letter: rest.toString('latin1', 4, 5), data: rest.subarray(5, end) };
        rest = rest.subarray(end);
      }
    }
  } catch {
    // Destroyed by close(): nobody reads any more.
  }
}
