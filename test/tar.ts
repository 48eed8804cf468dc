/** A writer of ustar archives that will write anything, also what no honest tool would. */

const blockSize = 512;

export interface TarEntry {
  readonly name: string;
  /** A file where left out. */
  readonly type?: 'directory' | 'symlink' | 'hardlink' | 'character' | 'block' | 'fifo';
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly content?: string | Uint8Array;
  /** Of a link. */
  readonly target?: string;
  readonly device?: readonly [major: number, minor: number];
  /** Further pax records, such as "GNU.sparse.realsize". */
  readonly pax?: Readonly<Record<string, string>>;
}

const typeFlags = { hardlink: '1', symlink: '2', character: '3', block: '4', directory: '5', fifo: '6' };

export function writeTar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(entryBlocks), Buffer.alloc(2 * blockSize)]);
}

function entryBlocks(entry: TarEntry): Buffer[] {
  const content = Buffer.from(entry.content ?? '');
  const pax: Record<string, string> = { ...entry.pax };
  if (Buffer.byteLength(entry.name) > 100) pax['path'] = entry.name;
  if (Buffer.byteLength(entry.target ?? '') > 100) pax['linkpath'] = entry.target ?? '';
  const flag = entry.type === undefined ? '0' : typeFlags[entry.type];
  return [...paxBlocks(pax), header(entry, flag, content.length), ...padded(content)];
}

function paxBlocks(records: Readonly<Record<string, string>>): Buffer[] {
  if (Object.keys(records).length === 0) return [];
  const content = Buffer.from(Object.entries(records).map(paxRecord).join(''));
  return [header({ name: 'pax' }, 'x', content.length), ...padded(content)];
}

/** "LENGTH KEY=VALUE\n", where the length counts itself. */
function paxRecord([key, value]: [string, string]): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length > length) length += 1;
  return `${length} ${key}=${value}\n`;
}

function padded(content: Buffer): Buffer[] {
  const rest = content.length % blockSize;
  return rest === 0 ? [content] : [content, Buffer.alloc(blockSize - rest)];
}

function header(entry: TarEntry, flag: string, size: number): Buffer {
  const block = Buffer.alloc(blockSize);
  const octal = (value: number, offset: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  };
  block.write(entry.name, 0, 100);
  octal(entry.mode ?? (entry.type === 'directory' ? 0o755 : 0o644), 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.fill(' ', 148, 156);
  block.write(flag, 156);
  block.write(entry.target ?? '', 157, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(entry.device?.[0] ?? 0, 329, 8);
  octal(entry.device?.[1] ?? 0, 337, 8);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
