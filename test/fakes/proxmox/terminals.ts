/** Ports that wait for a console, and the terminals behind them: what termproxy and a screen's server do. */
import type { FrameSocket } from './websocket.ts';
import type { Guest, World } from './world.ts';

export interface OpenPort {
  readonly ticket: string;
  readonly authId: string;
  readonly guest: Guest;
  readonly type: 'vncproxy' | 'termproxy';
  /** Once; undefined: nobody came yet. */
  connected: FrameSocket | undefined;
  readonly onConnect: () => void;
  readonly onEnd: () => void;
}

/** What was seen of terminals: for tests that look. */
export interface TerminalLog {
  readonly sizes: string[];
  pings: number;
  /** Messages with what is typed. */
  inputs: number;
}

interface Terminals {
  /** By endpoint and port: a port is open on the node that was asked, and nowhere else. */
  readonly ports: Map<string, OpenPort>;
  readonly log: TerminalLog;
}

const worlds = new WeakMap<World, Terminals>();

export function terminalsOf(world: World): Terminals {
  const known = worlds.get(world);
  if (known !== undefined) return known;
  const made = { ports: new Map(), log: { sizes: [], pings: 0, inputs: 0 } };
  worlds.set(world, made);
  return made;
}

export const portKey = (endpoint: string, port: string | number): string => `${endpoint} ${port}`;

/** How long termproxy waits for the line with the ticket. */
const ticketWithinMs = 10_000;

/** Somebody came to an open port. */
export function connectPort(world: World, port: OpenPort, socket: FrameSocket): void {
  port.connected = socket;
  port.onConnect();
  // What it shows ends with its guest.
  const watch = world.clock.every(500 * world.pace, () => port.guest.status === 'stopped' && socket.end());
  socket.onClose = () => {
    watch();
    port.onEnd();
  };
  if (port.type === 'vncproxy') {
    socket.send(Buffer.from('RFB 003.008\n'));
    return;
  }
  const takeBack = world.clock.after(ticketWithinMs * world.pace, () => socket.end());
  let line = '';
  socket.onMessage = (data) => {
    line += data.toString('latin1');
    const end = line.indexOf('\n');
    if (end < 0) return;
    takeBack();
    const at = line.indexOf(':');
    const isRight = line.slice(0, at) === port.authId && line.slice(at + 1, end) === port.ticket;
    if (!isRight) return socket.end();
    socket.send(Buffer.from('OK'));
    speak(world, port, socket);
  };
}

/** What termproxy holds of what came; the rest waits in the connection. */
const bufferBytes = 4096;

/**
 * Messages "0:LENGTH:DATA", "1:COLUMNS:ROWS:" and "2"; out come plain bytes. Read as termproxy reads them: a
 * head that is not whole in its buffer is lost, and what follows is taken for messages.
 */
function speak(world: World, { guest }: OpenPort, socket: FrameSocket): void {
  const { log } = terminalsOf(world);
  const type = lineTerminal(
    guest,
    (text) => socket.send(Buffer.from(text)),
    log,
    () => socket.end(),
  );
  const typed = new TextDecoder();
  let connection = Buffer.alloc(0);
  let buffer = Buffer.alloc(0);
  let remaining = 0;
  const consume = (bytes: number): Buffer => {
    const taken = buffer.subarray(0, bytes);
    buffer = buffer.subarray(bytes);
    return taken;
  };
  const fill = (): void => {
    const room = bufferBytes - buffer.length;
    buffer = Buffer.concat([buffer, connection.subarray(0, room)]);
    connection = connection.subarray(room);
  };
  function takeNumber(): number | undefined {
    const end = buffer.indexOf(':');
    if (end < 0) {
      if (buffer.length > 20) consume(20);
      return undefined;
    }
    const digits = consume(end + 1)
      .subarray(0, -1)
      .toString('latin1');
    return /^\d+$/.test(digits) ? Number(digits) : undefined;
  }
  function takeSize(): void {
    const columns = takeNumber();
    const rows = columns === undefined ? undefined : takeNumber();
    if (rows !== undefined) log.sizes.push(`${columns}x${rows}`);
  }
  /** The length of the data that follows; undefined: nothing is to be written yet. */
  function nextData(): number | undefined {
    while (buffer.length >= 2) {
      const kind = String.fromCharCode(buffer[0] ?? 0);
      consume(kind === '0' || kind === '1' ? 2 : 1);
      if (kind === '2') log.pings += 1;
      if (kind === '1') takeSize();
      const length = kind === '0' ? takeNumber() : undefined;
      if (length === undefined) continue;
      log.inputs += 1;
      return length;
    }
    return undefined;
  }
  socket.onMessage = (data) => {
    connection = Buffer.concat([connection, data]);
    do {
      fill();
      while (buffer.length > 0) {
        if (remaining === 0) remaining = nextData() ?? 0;
        if (remaining === 0) break;
        const some = consume(Math.min(remaining, buffer.length));
        remaining -= some.length;
        type(typed.decode(some, { stream: true }));
      }
    } while (connection.length > 0);
  };
}

/** Echoes what is typed; "size", "poweroff" and "exit" are commands, of which it has no more. */
function lineTerminal(guest: Guest, write: (text: string) => void, log: TerminalLog, end: () => void) {
  let line = '';
  write(`\r\n${guest.inside.hostname} login: `);
  return (typed: string): void => {
    for (const character of typed) {
      if (character !== '\r') {
        line += character;
        write(character);
        continue;
      }
      const command = line;
      line = '';
      if (command === 'exit') return end();
      write(`\r\n${command === 'size' ? (log.sizes.at(-1) ?? 'unknown') : `typed ${command}`}\r\n`);
    }
  };
}
