import type { Readable, Writable } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { DroverError } from '#shared/errors.ts';

/**
 * Spawns tools in our place. Node's own spawn copies the page tables of a large process and then holds the
 * event loop until the tool is loaded, milliseconds each time; this small process does it in a fraction, and
 * nobody waits. Tools are no children of ours, but of it; they go on when it ends, and it ends with us.
 * perl-base is essential in Debian.
 *
 * Both ways go frames: a length of four bytes, then fields with a NUL between them. To it: number, mode,
 * limit, input, count of variables, variables, tool, arguments; or number and "kill". From it: number, how
 * it went, a value, length of standard output, then standard output and error. Descriptor 3 is kept from the
 * beginning, so that no pipe of ours is where a tool's is to be. Source of 434, pidfd_open: syscalls(2).
 */
export const spawnerScript = `
use strict; use POSIX (); use Fcntl;
open(my $null, "<", "/dev/null") or die; die unless fileno($null) == 3;
my ($input, %jobs) = ("");
sub reply { my ($d, $o) = (join("\\0", @_), 0); $d = pack("N", length $d) . $d;
  while ($o < length $d) {
    my $n = syswrite(STDOUT, $d, length($d) - $o, $o); exit 0 unless defined $n; $o += $n } }
sub inputOf { my ($text) = @_; return $null if $text eq "";
  open(my $file, "+>", undef) or return;
  return unless (syswrite($file, $text) // -1) == length $text;
  return defined sysseek($file, 0, 0) ? $file : undef }
sub become { my ($mode, $env, $in, $out, $err, @command) = @_;
  POSIX::setsid(); chdir "/"; POSIX::dup2(fileno $in, 0);
  if ($mode eq "ask") {
    my $nowhere = POSIX::open("/dev/null", O_WRONLY);
    POSIX::dup2($nowhere, 1); POSIX::dup2($nowhere, 2); POSIX::close($nowhere) if $nowhere > 2;
    POSIX::dup2(fileno $out, 3);
  } else { POSIX::dup2(fileno $out, 1); POSIX::dup2(fileno $err, 2) }
  %ENV = %$env; exec { $command[0] } @command }
sub launch { my ($id, $mode, $max, $input, $count, @command) = @_;
  my $in = inputOf($input) or return reply($id, "fault", $! + 0, 0, "");
  my %env = map { split /=/, $_, 2 } splice(@command, 0, $count);
  my %job = (mode => $mode, max => $max, text => ["", ""]);
  pipe(my $status, my $fault) && pipe(my $out, my $outEnd) && pipe(my $err, my $errEnd)
    or return reply($id, "fault", $! + 0, 0, "");
  my $pid = fork(); defined $pid or return reply($id, "fault", $! + 0, 0, "");
  if ($pid == 0) {
    no warnings; become($mode, \\%env, $in, $outEnd, $errEnd, @command);
    syswrite($fault, $! + 0); POSIX::_exit(127) }
  fcntl($_, F_SETFL, O_NONBLOCK) for $out, $err;
  my $watch = syscall(434, $pid, 0);
  $jobs{$id} = { %job, pid => $pid, status => $status, pipes => [$out, $err], watch => $watch } }
sub hurt { my ($job) = @_; return if $job->{ended};
  kill("KILL", -$job->{pid}) || kill("KILL", $job->{pid}) }
sub drain { my ($job) = @_;
  for my $i (0, 1) { while (my $pipe = $job->{pipes}[$i]) {
    my $n = sysread($pipe, $job->{text}[$i], 65536, length $job->{text}[$i]);
    if (!defined $n) { last if $!{EAGAIN} || $!{EINTR}; $n = 0 }
    if ($n == 0) { $job->{pipes}[$i] = undef; last }
    last if length $job->{text}[$i] > $job->{max} } } }
sub answer { my ($id, $job, $how, $value) = @_;
  return if $job->{answered}++;
  reply($id, $how, $value, length $job->{text}[0], join("", @{$job->{text}}));
  $job->{text} = ["", ""]; $job->{pipes} = [] }
sub look { my ($id, $job) = @_;
  if (!$job->{ended} && waitpid($job->{pid}, POSIX::WNOHANG()) == $job->{pid}) {
    $job->{ended} = 1; $job->{code} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    POSIX::close($job->{watch}) if $job->{watch} >= 0;
    sysread($job->{status}, my $fault, 16); answer($id, $job, "fault", $fault) if $fault }
  drain($job);
  if (grep { length $_ > $job->{max} } @{$job->{text}}) { hurt($job); answer($id, $job, "flood", 0) }
  if ($job->{mode} eq "ask") {
    answer($id, $job, "line", 0) if index($job->{text}[0], "\\n") >= 0;
    answer($id, $job, "exit", $job->{code}) if $job->{ended} && !$job->{pipes}[0];
  } elsif ($job->{ended}) { answer($id, $job, "exit", $job->{code}) }
  delete $jobs{$id} if $job->{ended} && $job->{answered} }
while (1) {
  my ($ready, $wait) = ("", undef);
  vec($ready, 0, 1) = 1;
  for my $job (values %jobs) {
    vec($ready, fileno $_, 1) = 1 for grep { defined } @{$job->{pipes}};
    next if $job->{ended};
    if ($job->{watch} >= 0) { vec($ready, $job->{watch}, 1) = 1 } else { $wait = 0.005 } }
  next if select($ready, undef, undef, $wait) < 0;
  if (vec($ready, 0, 1)) {
    sysread(STDIN, $input, 65536, length $input) or exit 0;
    while (length $input >= 4 && length $input >= 4 + (my $l = unpack("N", $input))) {
      my @fields = split /\\0/, substr($input, 4, $l), -1; substr($input, 0, 4 + $l) = "";
      if ($fields[1] eq "kill") { hurt($jobs{$fields[0]}) if $jobs{$fields[0]} } else { launch(@fields) } } }
  for my $id (keys %jobs) {
    my $job = $jobs{$id};
    look($id, $job) if $job->{watch} < 0 || grep { vec($ready, $_, 1) }
      ($job->{ended} ? () : $job->{watch}), map { fileno $_ } grep { defined } @{$job->{pipes}} } }
`;

export type SpawnOutcome =
  | { readonly kind: 'exit'; readonly exitCode: number; readonly stdout: string; readonly stderr: string }
  /** It has said its first line, and goes on. */
  | { readonly kind: 'line'; readonly line: string }
  /** It was not started; the error's name, as ENOENT. */
  | { readonly kind: 'fault'; readonly code: string }
  /** It printed more than was allowed, and was killed. */
  | { readonly kind: 'flood' };

export interface SpawnRequest {
  /** 'run' collects both outputs to the end; 'ask' waits for one line on descriptor 3. */
  readonly mode: 'run' | 'ask';
  readonly tool: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Its standard input, through a file without a name; empty: none. */
  readonly input: string;
  readonly maxOutputBytes: number;
}

export interface SpawnedTool {
  readonly outcome: Promise<SpawnOutcome>;
  /** SIGKILL for its process group. */
  kill(): void;
}

export interface Spawner {
  spawn(request: SpawnRequest): SpawnedTool;
}

/** The perl that runs the script: a started command with pipes for its descriptors 0 and 1. */
interface SpawnerProcess {
  readable(descriptor: number): Readable;
  writable(descriptor: number): Writable;
  readonly exitCode: Promise<number>;
  keepAlive(wanted: boolean): void;
}

/** Over a perl that runs the script. Keeps our process alive only while a tool runs. */
export function createSpawner(perl: SpawnerProcess, onGone: () => void): Spawner {
  const jobs = new Map<number, PromiseWithResolvers<SpawnOutcome>>();
  let lastId = 0;
  let input: Buffer = Buffer.alloc(0);

  const send = (...fields: readonly (string | number)[]): void => {
    const body = Buffer.from(fields.join('\0'));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    perl.writable(0).write(Buffer.concat([length, body]));
  };
  const fail = (): void => {
    onGone();
    for (const job of jobs.values()) {
      job.reject(
        new DroverError('deadline-exceeded', 'the spawner has died; whether the tool acted is unknown'),
      );
    }
    jobs.clear();
  };
  const take = (frame: Buffer): void => {
    const { id, outcome } = parseFrame(frame);
    const job = jobs.get(id);
    jobs.delete(id);
    if (jobs.size === 0) perl.keepAlive(false);
    job?.resolve(outcome);
  };
  perl.readable(1).on('data', (chunk: Buffer) => {
    input = input.length === 0 ? chunk : Buffer.concat([input, chunk]);
    while (input.length >= 4 && input.length >= 4 + input.readUInt32BE(0)) {
      const end = 4 + input.readUInt32BE(0);
      take(input.subarray(4, end));
      input = input.subarray(end);
    }
  });
  perl.exitCode.then(fail, fail);
  perl.keepAlive(false);

  return {
    spawn({ mode, tool, args, env, input: given, maxOutputBytes }) {
      const id = ++lastId;
      const job = Promise.withResolvers<SpawnOutcome>();
      jobs.set(id, job);
      perl.keepAlive(true);
      const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      send(id, mode, maxOutputBytes, given, variables.length, ...variables, tool, ...args);
      return { outcome: job.promise, kill: () => send(id, 'kill') };
    },
  };
}

function parseFrame(frame: Buffer): { readonly id: number; readonly outcome: SpawnOutcome } {
  const fields: string[] = [];
  let at = 0;
  while (fields.length < 4) {
    const end = frame.indexOf(0, at);
    fields.push(frame.toString('latin1', at, end));
    at = end + 1;
  }
  const [id, how, value, length] = fields;
  const middle = at + Number(length);
  const stdout = frame.toString('utf8', at, middle);
  return {
    id: Number(id),
    outcome: outcomeOf(how ?? '', Number(value), stdout, frame.toString('utf8', middle)),
  };
}

function outcomeOf(how: string, value: number, stdout: string, stderr: string): SpawnOutcome {
  if (how === 'exit') return { kind: 'exit', exitCode: value, stdout, stderr };
  if (how === 'line') return { kind: 'line', line: stdout.slice(0, stdout.indexOf('\n')) };
  return how === 'flood' ? { kind: 'flood' } : { kind: 'fault', code: getSystemErrorName(-value) };
}
