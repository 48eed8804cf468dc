import { describe, expect, it } from 'vitest';
import type { DroverError } from '#shared/errors.ts';
import { type Answer, dataOf } from './answers.ts';

const subject = { cluster: 'rig', method: 'POST /nodes/{node}/lxc', node: 'pve3', endpoint: '10.0.0.1:8006' };

const answer = (status: number, reason: string, body: unknown, contentType?: string): Answer => ({
  status,
  reason,
  contentType: contentType ?? (body === '' ? '' : 'application/json;charset=UTF-8'),
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
});

function errorOf(given: Answer): DroverError {
  try {
    dataOf(given, subject);
  } catch (error) {
    return error as DroverError;
  }
  throw new Error('it was taken for good');
}

describe('a good answer', () => {
  it.each([
    ['data', { data: [1] }, [1]],
    ['null, which is data as well', { data: null }, null],
    ['a text', { data: 'UPID:x' }, 'UPID:x'],
  ])('gives %s', (_name, body, expected) => {
    expect(dataOf(answer(200, 'OK', body), subject)).toEqual(expected);
  });

  it.each([
    ['a truncated one', '{"data":[{"vmid":1', 'garbage'],
    ['one without data', { success: 1 }, 'garbage'],
    ['a list', [1], 'garbage'],
    ['nothing', '', 'garbage'],
    ['bytes', '\u0000\u0001\u0002', 'garbage'],
  ])('is not %s', (_name, body, reason) => {
    expect(errorOf(answer(200, 'OK', body))).toMatchObject({ kind: 'internal', reason, subject });
  });

  it('is not a web page', () => {
    const page = '<!DOCTYPE html><html><body>\u001b[2JSign in</body></html>';
    const error = errorOf(answer(200, 'OK', page, 'text/html'));
    expect(error).toMatchObject({ kind: 'unavailable', reason: 'not-the-api' });
    expect(error.message).not.toContain('Sign in');
  });

  it('keeps keys that name a prototype as what they are', () => {
    const data = dataOf(answer(200, 'OK', '{"data":{"__proto__":{"x":1}}}'), subject) as object;
    expect(Object.getPrototypeOf(data)).toBe(Object.prototype);
  });
});

describe('what is wrong is said', () => {
  it('by the message in the body', () => {
    expect(
      errorOf(answer(500, 'something', { data: null, message: 'CT 101 already running\n' })),
    ).toMatchObject({
      kind: 'failed-precondition',
      reason: 'running',
      message: 'CT 101 already running',
    });
  });

  it('by errors{} where there is no message', () => {
    const error = errorOf(answer(500, '', { data: null, errors: { mp: 'nope\n', volume: 'gone' } }));
    expect(error.message).toBe('mp: nope; volume: gone');
    expect(error.faults).toEqual([
      { field: 'mp', message: 'nope' },
      { field: 'volume', message: 'gone' },
    ]);
  });

  it('by the reason phrase, as older versions do', () => {
    expect(errorOf(answer(500, 'CT is locked (backup)', { data: null }))).toMatchObject({
      kind: 'aborted',
      reason: 'locked',
      message: 'CT is locked (backup)',
    });
    expect(
      errorOf(answer(403, 'Permission check failed (/storage/local, Datastore.AllocateTemplate)', '')),
    ).toMatchObject({
      kind: 'permission-denied',
      nextStep: 'give Datastore.AllocateTemplate on /storage/local to the token (and to its user)',
    });
  });

  it('in words of our own where nobody says it', () => {
    const error = errorOf(answer(500, '', '{"data":null}'));
    expect(error.kind).toBe('internal');
    expect(error.message).toBe('POST /nodes/{node}/lxc failed, and the cluster does not say of what');
    expect(error.message).not.toContain('null');
  });

  it('without a place in Perl', () => {
    const words =
      '\'"\' expected, at character offset 1 (before "bad") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 917.\n';
    const { message } = errorOf(answer(500, words, { data: null, message: words }));
    expect(message).not.toMatch(/line|perl/);
  });
});

describe('statuses', () => {
  it.each<[string, Answer, object]>([
    [
      '401 is about the credential, whatever it says',
      answer(401, 'No ticket', ''),
      { kind: 'unauthenticated' },
    ],
    [
      '401 says nothing of what it wanted',
      answer(401, 'permission denied - invalid PVE ticket', ''),
      { kind: 'unauthenticated', reason: 'credential' },
    ],
    ['404 is no missing guest', answer(404, 'Not Found', ''), { kind: 'not-found', reason: 'path' }],
    [
      '501 is not offered',
      answer(501, "Method 'PUT /version' not implemented", {
        data: null,
        message: "Method 'PUT /version' not implemented",
      }),
      { kind: 'unimplemented' },
    ],
    [
      '501 may be plain text',
      answer(
        501,
        "Unexpected content for method 'DELETE'",
        "Unexpected content for method 'DELETE'",
        'text/plain',
      ),
      { kind: 'unimplemented' },
    ],
    [
      '506 is our own fault',
      answer(506, "upload 'Content-Type 'text/plain' not implemented", '', ''),
      { kind: 'internal' },
    ],
    [
      '595 is a node that is away',
      answer(595, 'Connection refused', ''),
      { kind: 'unavailable', reason: 'node-unreachable' },
    ],
    [
      '596 too',
      answer(596, 'error:0A000086:SSL routines::certificate verify failed', ''),
      { kind: 'unavailable', reason: 'node-unreachable' },
    ],
    [
      '597 is one that went away while it answered',
      answer(597, 'Connection timed out', ''),
      { kind: 'unavailable', reason: 'node-unreachable' },
    ],
    [
      '599 too',
      answer(599, 'Too many redirections', ''),
      { kind: 'unavailable', reason: 'node-unreachable' },
    ],
    [
      '301 leads away from the API',
      answer(301, 'Moved', '<html></html>', 'text/html'),
      { kind: 'failed-precondition', reason: 'not-the-api' },
    ],
    [
      '502 is of something in between',
      answer(502, 'Bad Gateway', '<html>nginx</html>', 'text/html'),
      { kind: 'unavailable', reason: 'not-the-api' },
    ],
    [
      'no quorum has done nothing',
      answer(500, 'cluster not ready - no quorum?', ''),
      { kind: 'unavailable', reason: 'no-quorum', subject: { ...subject, acted: 'no' } },
    ],
  ])('%s', (_name, given, expected) => {
    expect(errorOf(given)).toMatchObject(expected);
  });

  it('of a node that is away name it', () => {
    const error = errorOf(answer(595, 'No route to host', ''));
    expect(error.message).toBe('node pve3 does not answer the rest of its cluster: No route to host');
    expect(error.nextStep).not.toBe('');
    expect(error.subject).toEqual(subject);
  });
});

describe('refused parameters', () => {
  const refused = (errors: Record<string, string>) =>
    errorOf(
      answer(400, 'Parameter verification failed.', {
        data: null,
        errors,
        message: 'Parameter verification failed.\n',
      }),
    );

  it('are named, each', () => {
    const error = refused({
      vmid: "type check ('integer') failed - got 'abc'",
      net0: 'invalid format - format error\nnet0.foo: property is not defined in schema\n',
    });
    expect(error).toMatchObject({ kind: 'invalid-argument', subject: { acted: 'no' } });
    expect(error.faults.map(({ field }) => field)).toEqual(['net0', 'vmid']);
    expect(error.message).toBe(
      "the cluster refuses parameters: net0: format error net0.foo: property is not defined in schema; vmid: type check ('integer') failed - got 'abc'",
    );
  });

  it.each([
    ['a task that is not there', { upid: 'no such task' }, 'not-found', 'task'],
    ['a VMID that is taken', { vmid: 'VM 7400 already exists' }, 'already-exists', 'exists'],
    ['a token that is there', { tokenid: 'Token already exists.' }, 'already-exists', 'exists'],
    ['the node it is on', { target: 'target is local node.' }, 'failed-precondition', 'same-node'],
    [
      'a guest that holds its device',
      { net0: "hotplug problem - error on hot-unplugging device 'net0'\n" },
      'failed-precondition',
      'hotplug',
    ],
    ['what only root may', { skiplock: 'Only root may use this option.' }, 'permission-denied', 'root-only'],
  ])('that are rather %s', (_name, errors, kind, reason) => {
    expect(refused(errors)).toMatchObject({ kind, reason });
  });
});

describe('missing rights', () => {
  it.each([
    [
      'one',
      'Permission check failed (/vms/7001, VM.Allocate)\n',
      'give VM.Allocate on /vms/7001 to the token (and to its user)',
    ],
    [
      'several',
      'Permission check failed (/vms/7001, VM.Config.Disk|VM.Config.CPU)\n',
      'give VM.Config.Disk or VM.Config.CPU on /vms/7001 to the token (and to its user)',
    ],
    [
      'none named',
      'Permission check failed\n',
      'compare the rights of the token with those that `drover cluster test` names',
    ],
    [
      'a pool that is not there',
      "Permission check failed (pool 'web' does not exist)\n",
      'make that pool in the cluster, or take `cluster.pool` out of the spec',
    ],
    [
      'a tag that the datacenter keeps to itself',
      "Permission check failed (/, Sys.Modify for modifying tag 'drover-0123456789ab')\n",
      'the options of the datacenter ("user-tag-access", "registered-tags") keep this tag to those with ' +
        'Sys.Modify on /: change them, or give that to the token (and to its user)',
    ],
    [
      'what no token may',
      'Permission check failed (mount point type bind is only allowed for root@pam)\n',
      'no token may do this: root has to, on the node itself',
    ],
  ])('%s', (_name, message, nextStep) => {
    expect(errorOf(answer(403, message.trim(), { data: null, message }))).toMatchObject({
      kind: 'permission-denied',
      nextStep,
    });
  });
});
