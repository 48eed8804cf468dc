import { describe, expect, it } from 'vitest';
import { parseMultipart } from './multipart.ts';

const form = (names: readonly string[]): Buffer =>
  Buffer.from(
    names
      .map((name) => `--line\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n a${name} \r\n`)
      .join('') +
      '--line\r\nContent-Disposition: form-data; name="filename"; filename="a.iso"\r\n' +
      'Content-Type: application/octet-stream\r\n\r\nbytes\r\n--line--\r\n',
  );

describe('an upload to a cluster', () => {
  it.each([[['content', 'checksum-algorithm', 'checksum']], [['content', 'checksum']], [['content']], [[]]])(
    'is read with the fields %j',
    (names) => {
      expect(parseMultipart(form(names), 'line')).toMatchObject({
        fields: Object.fromEntries(names.map((name) => [name, `a${name}`])),
        file: { filename: 'a.iso', bytes: 5 },
      });
    },
  );

  it.each([
    [['content', 'checksum', 'checksum-algorithm']],
    [['checksum', 'content']],
    [['content', 'content']],
    [['content', 'vmid']],
  ])('is not read with the fields %j', (names) => {
    expect(parseMultipart(form(names), 'line')).toBeUndefined();
  });
});
