import type { Readable } from 'node:stream';
import { drained } from '#shared/drained.ts';
import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from '../host/command.ts';

/**
 * Carries conmon's attach socket over pipes. The socket is SOCK_SEQPACKET, which Node cannot open, and each
 * packet's first byte names the stream, so boundaries must survive: a length of four bytes goes before every
 * packet. A length of zero means ready towards us, and end of input towards the command. perl-base is
 * essential in Debian. It never blocks on one direction while the other has something, or a command that
 * echoes would wait for itself.
 */
const script = `
use strict; use Socket;
chdir $ARGV[0] or die "chdir: $!";
socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die "socket: $!";
connect($s, sockaddr_un("attach")) or die "connect: $!";
sub put { my ($d, $o) = (shift, 0);
  while ($o < length $d) {
    my $n = syswrite(STDOUT, $d, length($d) - $o, $o); exit 0 unless defined $n; $o += $n } }
put(pack("N", 0));
my ($in, $end, $open) = ("", 0, 1);
my @queue;
while (1) {
  my ($r, $w) = ("", "");
  vec($r, fileno $s, 1) = 1;
  vec($r, 0, 1) = 1 if $open && !@queue;
  vec($w, fileno $s, 1) = 1 if @queue;
  next if select($r, $w, undef, undef) <= 0;
  if (vec($r, fileno $s, 1)) {
    my $p; defined recv($s, $p, 65536, 0) or last; last if length $p == 0;
    put(pack("N", length $p) . $p);
  }
  if (@queue && vec($w, fileno $s, 1)) {
    if (defined send($s, $queue[0], 64)) { shift @queue } elsif (!$!{EAGAIN}) { last }
  }
  if (!@queue && $open && vec($r, 0, 1)) {
    my $n = sysread(STDIN, $in, 65536, length $in); last unless $n;
    while (length $in >= 4) {
      my $l = unpack("N", $in);
      if ($l == 0) { $end = 1; $open = 0; last }
      last if length $in < 4 + $l;
      my $d = substr($in, 4, $l); substr($in, 0, 4 + $l) = "";
      while (length $d) { push @queue, substr($d, 0, 4096, "") }
    }
  }
  if ($end && !@queue) { shutdown($s, 1); $end = 0 }
}
`;

export interface AttachBridge {
  /** Packets of the command, the stream's byte first. Ends with the command, or with the bridge. */
  readonly packets: AsyncIterable<Buffer>;
  /** Resolves when more may be written. */
  write(data: Uint8Array): Promise<void>;
  endInput(): void;
  /** The command's input ends, and its output goes nowhere. */
  close(): void;
}

/** `directory` holds the socket. It may be longer than a socket's address may be: perl changes into it. */
export async function openAttachBridge(
  commands: HostCommands,
  directory: string,
  signal: AbortSignal,
): Promise<AttachBridge> {
  const perl = await commands.start('perl', ['-e', script, directory], {
    pipes: ['write', 'read', 'ignore'],
    signal,
  });
  const frames = readFrames(perl.readable(1));
  const first = await frames.next();
  if (first.done === true) {
    throw new DroverError('internal', `the bridge to conmon's socket ended with ${await perl.exitCode}`);
  }
  const input = perl.writable(0);
  const writeFrame = async (data: Uint8Array): Promise<void> => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    if (input.destroyed || input.writableEnded)
      throw new DroverError('failed-precondition', 'the command has ended');
    const mayGoOn = input.write(Buffer.concat([length, data]));
    if (!mayGoOn) await Promise.race([drained(input), perl.exitCode]);
  };
  return {
    packets: frames,
    write: async (data) => (data.length === 0 ? undefined : writeFrame(data)),
    endInput: () => void input.write(Buffer.alloc(4)),
    close: () => perl.close(),
  };
}

const maxFrameBytes = 65_536;

/** Splits the bytes of the bridge into frames; undefined bytes at the end are a cut frame and are dropped. */
async function* readFrames(stream: Readable): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
        const end = 4 + rest.readUInt32BE(0);
        yield rest.subarray(4, end);
        rest = rest.subarray(end);
      }
      if (rest.length > 4 + maxFrameBytes)
        throw new DroverError('internal', 'the bridge sent too large a frame');
    }
  } catch (error) {
    if (error instanceof DroverError) throw error;
    // Destroyed by close(): nobody reads any more.
  }
}
