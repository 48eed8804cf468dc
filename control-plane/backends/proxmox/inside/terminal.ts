import type { Clock } from '#shared/clock.ts';
import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import type { ExecInput, ExecOutput, TerminalSize } from '#shared/streams.ts';
import type { ExecChannel } from '../../backend.ts';
import type { ByteSocket } from '../cluster-api.ts';
import { rowOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { Configuration } from '../guests/guest-kind.ts';
import { numberOf, parseProperties, textOf } from '../guests/properties.ts';
import type { Look } from '../life/look.ts';
import type { OwnGuests } from '../life/own-guests.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';

/** Its output comes until the channel is ended, or the terminal is closed: unavailable then. */
export type OpenTerminal = (
  record: ClusterGuest,
  size: TerminalSize,
  signal: AbortSignal,
) => Promise<ExecChannel>;

/** termproxy waits ten seconds for whoever asked for it. */
const greetingWithinMs = 10_000;
/** It hangs up on who is silent for longer; so does pveproxy. */
const pingEveryMs = 30_000;
/**
 * In as few messages as can be: a head that comes in two pieces to termproxy is lost with its message. Less
 * than pveproxy takes in one frame.
 */
const mostPieceBytes = 120_000;
/** Of one cluster at one time: its nodes have a hundred ports each for all of them. */
const mostTerminals = 32;
const greeting = Buffer.from('OK');

/**
 * The terminal of a container, and of a machine that has a serial port, through termproxy: what everybody
 * sees who looks at it. unimplemented: a machine without a serial port; failed-precondition: it does not run.
 * Nothing is told of how what runs there ends: that the guest stopped is the only end that is one.
 */
export function createTerminals(
  tools: ClusterTools,
  { own, look }: { readonly own: OwnGuests; readonly look: Look },
): OpenTerminal {
  const { api, clock, random } = tools;
  let open = 0;

  /** Where it was opened: the port is open on the node that answered, wherever the guest is. */
  async function connect(record: ClusterGuest, signal: AbortSignal) {
    const { place, config } = await look.config(record, signal);
    await look.status(record, signal);
    const { status } = own.of(record.instanceId).sight;
    if (status !== 'running')
      throw new DroverError('failed-precondition', `nothing shows at its terminal: it is ${status}`, {
        subject: { instance: record.instanceId },
      });
    let endpoint = '';
    const options = { signal, via: place.node, onEndpoint: (address: string) => (endpoint = address) };
    const isContainer = record.kind === 'lxc';
    const answer = rowOf(
      isContainer
        ? await api.call('POST /nodes/{node}/lxc/{vmid}/termproxy', place, options)
        : await api.call(
            'POST /nodes/{node}/qemu/{vmid}/termproxy',
            { ...place, serial: serialPortOf(config, record) },
            options,
          ),
    );
    const ticket = textOf(answer['ticket']);
    const at = { ...place, port: numberOf(answer['port']), vncticket: ticket };
    const socket = await (isContainer
      ? api.openSocket('GET /nodes/{node}/lxc/{vmid}/vncwebsocket', at, { endpoint, signal })
      : api.openSocket('GET /nodes/{node}/qemu/{vmid}/vncwebsocket', at, { endpoint, signal }));
    return { socket, line: `${textOf(answer['user'])}:${ticket}\n` };
  }

  /** What ended it: the guest did, or nobody knows. */
  async function endOf(record: ClusterGuest): Promise<ExecOutput> {
    await look.status(record, tools.signal).catch(() => undefined);
    const { status } = own.of(record.instanceId).sight;
    if (status === 'stopped')
      return { kind: 'exit', exit: { code: 0, unknown: false, outOfMemory: false, atMs: clock.nowMs() } };
    throw new DroverError('unavailable', 'the cluster closed the terminal; what runs there goes on', {
      subject: { instance: record.instanceId },
      nextStep: 'open it again',
    });
  }

  async function begin(record: ClusterGuest, size: TerminalSize, signal: AbortSignal) {
    const either = AbortSignal.any([signal, tools.signal]);
    const { socket, line } = await connect(record, either);
    try {
      const received = socket.received[Symbol.asyncIterator]();
      socket.send(Buffer.from(line));
      const limit = clock.timeout(greetingWithinMs, either);
      const first = await unlessAborted(greeted(received), limit);
      socket.send(sizeMessage(size));
      return { socket, received, first, either };
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  return async (record, size, signal) => {
    if (open >= mostTerminals)
      throw new DroverError('resource-exhausted', `${open} terminals of ${tools.name} are open already`, {
        nextStep: 'close one of them, or look at it on the cluster itself: drover console --url',
      });
    open += 1;
    const release = once(() => (open -= 1));
    try {
      const { socket, received, first, either } = await begin(record, size, signal);
      const stopPing = pingOf(socket, clock);
      let isLeft = false;
      const close = once(() => {
        isLeft = true;
        stopPing();
        either.removeEventListener('abort', close);
        socket.close();
        release();
      });
      either.addEventListener('abort', close, { once: true });
      async function* output(): AsyncGenerator<ExecOutput> {
        try {
          yield { kind: 'started', execId: random.uuidV4() };
          if (first.length > 0) yield { kind: 'stdout', data: first };
          for await (const data of { [Symbol.asyncIterator]: () => received }) yield { kind: 'stdout', data };
          if (!isLeft) yield await endOf(record);
        } finally {
          close();
        }
      }
      return { output: output(), send: async (input) => write(socket, input), close };
    } catch (error) {
      release();
      throw error;
    }
  };
}

/** What came behind its greeting. */
async function greeted(received: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let bytes = Buffer.alloc(0);
  while (bytes.length < greeting.length) {
    const next = await received.next();
    if (next.done === true) break;
    bytes = Buffer.concat([bytes, next.value]);
  }
  if (bytes.subarray(0, greeting.length).equals(greeting)) return bytes.subarray(greeting.length);
  throw new DroverError('unavailable', 'the cluster closed the terminal before it was open', {
    reason: 'connection',
    nextStep: 'look at it on the cluster itself: drover console --url',
  });
}

async function write(socket: ByteSocket, input: ExecInput): Promise<void> {
  if (input.kind === 'signal')
    throw new DroverError('unimplemented', 'a terminal takes keys, and no signals');
  if (input.kind === 'resize') socket.send(sizeMessage(input.size));
  if (input.kind !== 'stdin') return;
  for (let from = 0; from < input.data.length; from += mostPieceBytes) {
    const piece = input.data.subarray(from, from + mostPieceBytes);
    socket.send(Buffer.concat([Buffer.from(`0:${piece.length}:`), piece]));
  }
}

const sizeMessage = ({ columns, rows }: TerminalSize): Uint8Array =>
  Buffer.from(`1:${columns || 80}:${rows || 24}:`);

function pingOf(socket: ByteSocket, clock: Clock): () => void {
  return clock.every(pingEveryMs, () => {
    try {
      socket.send(Buffer.from('2'));
    } catch (error) {
      // It has ended, or is on the way to it: its reader is told.
      if (!isKind(error, 'failed-precondition', 'resource-exhausted')) throw error;
    }
  });
}

/** The one it shows itself on, or the first that leads to a socket. */
function serialPortOf(config: Configuration, { instanceId }: ClusterGuest) {
  const ports = ['serial0', 'serial1', 'serial2', 'serial3'] as const;
  const open = ports.filter((port) => config[port] === 'socket');
  const shown = parseProperties(textOf(config['vga']), 'type').get('type');
  const found = open.find((port) => port === shown) ?? open[0];
  if (found !== undefined) return found;
  throw new DroverError('unimplemented', 'it has no serial port, and so no terminal', {
    subject: { instance: instanceId },
    nextStep: 'say `serial: true` in vm of its spec, or look at its screen: drover console --url',
  });
}

function once(act: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) act();
    isDone = true;
  };
}
