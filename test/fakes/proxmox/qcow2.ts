/** The header of disk images: what a disk made of one has room for is told there, not by the file's size. */

const magic = 'QFI\xfb';
const sizeOffset = 24;
const headerBytes = 72;

/** A header alone: enough to be told apart, downloaded and imported here. */
export function emptyQcow2({ virtualBytes }: { readonly virtualBytes: number }): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.write(magic, 'latin1');
  header.writeUInt32BE(2, 4);
  header.writeBigUInt64BE(BigInt(virtualBytes), sizeOffset);
  return header;
}

/** Undefined: it is not of that format. */
export function virtualSizeOf(content: Uint8Array): number | undefined {
  const header = Buffer.from(content.buffer, content.byteOffset, Math.min(content.length, headerBytes));
  if (header.length < headerBytes || header.toString('latin1', 0, 4) !== magic) return undefined;
  return Number(header.readBigUInt64BE(sizeOffset));
}
