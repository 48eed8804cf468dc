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
  const made = { ports: new Map(), log: { sizes: [], pings: 0 } };
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

/** Messages "0:LENGTH:DATA", "1:COLUMNS:ROWS:" and "2"; out come plain bytes. */
function speak(world: World, { guest }: OpenPort, socket: FrameSocket): void {
  const { log } = terminalsOf(world);
  const type = lineTerminal(
    guest,
    (text) => socket.send(Buffer.from(text)),
    log,
    () => socket.end(),
  );
  let waiting = Buffer.alloc(0);
  socket.onMessage = (data) => {
    waiting = Buffer.concat([waiting, data]);
    for (let size = takeOne(); size > 0; size = takeOne()) waiting = waiting.subarray(size);
  };
  function takeOne(): number {
    const text = waiting.subarray(0, 32).toString('latin1');
    if (text.startsWith('2')) {
      log.pings += 1;
      return 1;
    }
    const [all = '', columns, rows] = /^1:(\d+):(\d+):/.exec(text) ?? [];
    if (columns !== undefined) {
      log.sizes.push(`${columns}x${rows}`);
      return all.length;
    }
    const [head = '', length] = /^0:(\d+):/.exec(text) ?? [];
    if (length === undefined) {
      if (text.length > 16) socket.end();
      return 0;
    }
    const end = head.length + Number(length);
    if (waiting.length < end) return 0;
    type(waiting.subarray(head.length, end).toString('utf8'));
    return end;
  }
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
