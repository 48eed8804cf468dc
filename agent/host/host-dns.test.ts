import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readHostDns } from './host-dns.ts';

const stub = '# managed\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lab.test\n';

describe("the host's name servers, for a guest", () => {
  it.each([
    [
      'keeps what can be reached',
      ['nameserver 10.0.0.2\nsearch a.test\n'],
      'nameserver 10.0.0.2\nsearch a.test\n',
    ],
    ['leaves out the loopback', ['nameserver ::1\nnameserver 10.0.0.2\n'], 'nameserver 10.0.0.2\n'],
    ['asks those behind a stub', [stub, 'nameserver 10.0.0.9\n'], 'nameserver 10.0.0.9\n'],
    ['says nothing where there is none', [stub, ''], ''],
  ])('%s', async (_name, texts, wanted) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-dns-'));
    try {
      const files = texts.map((_text, place) => path.join(folder, `${place}`));
      await Promise.all(files.map((file, place) => writeFile(file, texts[place] ?? '')));
      expect(await readHostDns([...files, path.join(folder, 'missing')])).toBe(wanted);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
