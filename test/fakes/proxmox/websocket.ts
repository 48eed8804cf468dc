/** The frames of a websocket as pveproxy reads and writes them: RFC 6455, with its own limits. */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';

export interface FrameSocket {
  /** One binary frame. */
  send(data: Uint8Array): void;
  /** The connection ends without a frame of goodbye, as pveproxy ends it. */
  end(): void;
  onMessage: (data: Buffer) => void;
  onClose: () => void;
}

const mostBytes = 128 * 1024;

export const acceptOf = (key: string): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

/** Undefined: these headers ask for no websocket that it speaks. */
export function handshakeOf(headers: IncomingHttpHeaders): string | undefined {
  const key = headers['sec-websocket-key'];
  const isAsked = headers.upgrade?.toLowerCase() === 'websocket' && headers['sec-websocket-version'] === '13';
  if (!isAsked || key === undefined) return undefined;
  const protocol = headers['sec-websocket-protocol'];
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: upgrade',
    `Sec-WebSocket-Accept: ${acceptOf(key)}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
    '\r\n',
  ].join('\r\n');
}

function frameOf(data: Uint8Array, opcode: number): Buffer {
  const head = [0x80 | opcode];
  if (data.length <= 125) head.push(data.length);
  else if (data.length <= 0xffff) head.push(126, data.length >> 8, data.length & 0xff);
  else throw new Error('longer than any test needs');
  return Buffer.concat([Buffer.from(head), data]);
}

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
  readonly size: number;
}

/** Undefined: more has to come. Throws what pveproxy dies of. */
function readFrame(bytes: Buffer): Frame | undefined {
  const [first, second] = bytes;
  if (first === undefined || second === undefined) return undefined;
  if ((first & 0x80) === 0) throw new Error('received fragmented websocket frame');
  if ((first & 0x70) !== 0) throw new Error('received websocket frame with RSV flags');
  if ((second & 0x80) === 0) throw new Error('received unmasked websocket frame from client');
  const short = second & 0x7f;
  const extra = short === 126 ? 2 : short === 127 ? 8 : 0;
  const start = 2 + extra + 4;
  if (bytes.length < start) return undefined;
  const length = extra === 0 ? short : extra === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (length > mostBytes) throw new Error(`received too large websocket frame (len = ${length})`);
  if (bytes.length < start + length) return undefined;
  const mask = bytes.subarray(start - 4, start);
  const payload = Buffer.from(bytes.subarray(start, start + length));
  for (const [place, byte] of payload.entries()) payload[place] = byte ^ (mask[place % 4] ?? 0);
  return { opcode: first & 0x0f, payload, size: start + length };
}

/** Speaks frames on a connection whose handshake was answered. */
export function frameSocket(connection: Duplex, head: Buffer): FrameSocket {
  let bytes = head;
  const socket: FrameSocket = {
    send: (data) => void (connection.writable && connection.write(frameOf(data, 2))),
    end: () => connection.destroy(),
    onMessage: () => undefined,
    onClose: () => undefined,
  };
  function take(): void {
    for (let frame = readFrame(bytes); frame !== undefined; frame = readFrame(bytes)) {
      bytes = bytes.subarray(frame.size);
      if (frame.opcode === 1 || frame.opcode === 2) socket.onMessage(frame.payload);
      else if (frame.opcode === 8) connection.end();
      else if (frame.opcode === 9) connection.write(frameOf(frame.payload, 10));
      else if (frame.opcode !== 10) throw new Error('received unhandled websocket opcode');
    }
  }
  connection.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    try {
      take();
    } catch {
      connection.destroy();
    }
  });
  connection.on('error', () => connection.destroy());
  connection.on('close', () => socket.onClose());
  return socket;
}
