import { describe, expect, it } from 'vitest';
import { skopeoError } from './registry-origin.ts';

/** As skopeo 1.9.3 wrote them. */
const said: readonly (readonly [words: string, kind: string])[] = [
  ['reading manifest 1 in 127.0.0.1:5000/web: manifest unknown: manifest unknown', 'not-found'],
  [
    'pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": http: server gave HTTP ' +
      'response to HTTPS client',
    'unavailable',
  ],
  [
    'pinging container registry 127.0.0.1:1: Get \\"http://127.0.0.1:1/v2/\\": dial tcp 127.0.0.1:1: connect: ' +
      'connection refused',
    'unavailable',
  ],
  ['reading manifest 1 in 127.0.0.1:5000/web: unauthorized: authentication required', 'permission-denied'],
  ['writing blob: Digest did not match, expected sha256:0, got sha256:1', 'data-loss'],
  ['copying blob: write /x: no space left on device', 'resource-exhausted'],
  ['context deadline exceeded', 'deadline-exceeded'],
  ['invalid reference format', 'invalid-argument'],
  ['something that nobody has seen', 'internal'],
];

describe('skopeoError', () => {
  it.each(said)('reads "%s" as %s', (words, kind) => {
    const stderr = `time="2026-01-01T00:00:00Z" level=fatal msg="${words}"\n`;
    const error = skopeoError({ exitCode: 1, stdout: '', stderr }, 'web');
    expect(error).toMatchObject({ kind, subject: { image: 'web' } });
    expect(error.message).toBe(`skopeo: ${words.replaceAll('\\"', '"')}`);
  });

  it('lets no control character through to a terminal', () => {
    const error = skopeoError({ exitCode: 1, stdout: '', stderr: 'bad\u001b[2Jwords\n' }, 'web');
    expect(error.message).toBe('skopeo: bad?[2Jwords');
  });

  it('says at least how it ended', () => {
    expect(skopeoError({ exitCode: 137, stdout: '', stderr: '' }, 'web').message).toBe('skopeo: exit 137');
  });
});
