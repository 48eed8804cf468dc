import { beforeEach, describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { type FakeClock, createFakeClock } from '../../../../test/fakes/clock.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import { type Credential, type Login, credentialOf } from './credentials.ts';

const { signal } = new AbortController();
const password = 'a secret of people';
let clock: FakeClock;
let attempts: string[];
/** What the next logins come to: a number is a ticket's name, an error is thrown. */
let answers: ((secret: string) => unknown)[];

beforeEach(() => {
  clock = createFakeClock();
  attempts = [];
  answers = [];
});

const ticket = (name: string) => ({
  ticket: `PVE:drover@pve:${name}::x=`,
  CSRFPreventionToken: `csrf-${name}`,
});
const refuse = (): never => {
  throw new DroverError('unauthenticated', 'authentication failure', { reason: 'credential' });
};
const gone = (): never => {
  throw new DroverError('unavailable', 'nobody answers', { reason: 'connection' });
};

function open(): Credential {
  const login: Login = async (_user, secret) => {
    attempts.push(secret);
    await clock.turn();
    return (answers.shift() ?? (() => ticket(`t${attempts.length}`)))(secret);
  };
  const random = { ...createSeededRandom(1), fraction: () => 0 };
  return credentialOf(
    { kind: 'password', user: 'drover@pve', password },
    { login, clock, random, cluster: 'rig' },
  );
}

describe('an API token', () => {
  const options = { login: refuse, clock: createFakeClock(), random: createSeededRandom(1), cluster: 'rig' };
  const secret = '00000000-0000-4000-8000-000000000001';

  it('is joined by an equals sign, and there is nothing to renew', async () => {
    const credential = credentialOf({ kind: 'token', tokenId: 'a@pve!b', secret }, options);
    expect((await credential.headersFor(true, signal)).headers).toEqual({
      authorization: `PVEAPIToken=a@pve!b=${secret}`,
    });
    expect(await credential.refused(0, signal)).toBe(false);
  });

  it.each([
    ['without a realm', 'a!b', secret],
    ['without a name', 'a@pve', secret],
    ['with its secret', `a@pve!b=${secret}`, secret],
    ['in the form with a colon', `a@pve!b:${secret}`, secret],
    ['with an end of line', 'a@pve!b\r\nX: y', secret],
    ['whose secret is empty', 'a@pve!b', ''],
    ['whose secret has an end of line', 'a@pve!b', `${secret}\n`],
  ])('%s is refused, and its secret not repeated', (_name, tokenId, given) => {
    const make = (): unknown => credentialOf({ kind: 'token', tokenId, secret: given }, options);
    expect(make).toThrow(expect.objectContaining({ kind: 'invalid-argument' }));
    expect(make).not.toThrow(new RegExp(secret));
  });
});

describe('a ticket', () => {
  it('goes into a cookie, and its CSRF token with every write', async () => {
    const credential = open();
    expect((await credential.headersFor(false, signal)).headers).toEqual({
      cookie: 'PVEAuthCookie=PVE:drover@pve:t1::x=',
    });
    expect((await credential.headersFor(true, signal)).headers).toEqual({
      cookie: 'PVEAuthCookie=PVE:drover@pve:t1::x=',
      csrfpreventiontoken: 'csrf-t1',
    });
    expect(attempts).toEqual([password]);
  });

  it('is taken once for all that wait for it', async () => {
    const credential = open();
    const all = await Promise.all(Array.from({ length: 50 }, () => credential.headersFor(false, signal)));
    expect(new Set(all.map(({ mark }) => mark)).size).toBe(1);
    expect(attempts).toHaveLength(1);
  });

  it('is renewed with itself after 90 minutes', async () => {
    const credential = open();
    await credential.headersFor(false, signal);
    await clock.advance(89 * 60_000);
    await credential.headersFor(false, signal);
    expect(attempts).toHaveLength(1);
    await clock.advance(2 * 60_000);
    const headers = await Promise.all([
      credential.headersFor(true, signal),
      credential.headersFor(true, signal),
    ]);
    expect(headers[1].headers['csrfpreventiontoken']).toBe('csrf-t2');
    expect(attempts).toEqual([password, 'PVE:drover@pve:t1::x=']);
  });

  it('that cannot be renewed is taken anew with the password', async () => {
    const credential = open();
    await credential.headersFor(false, signal);
    await clock.advance(91 * 60_000);
    answers = [refuse];
    expect((await credential.headersFor(true, signal)).headers['csrfpreventiontoken']).toBe('csrf-t3');
    expect(attempts).toEqual([password, 'PVE:drover@pve:t1::x=', password]);
  });

  it('that is too old to be its own password is not tried as one', async () => {
    const credential = open();
    await credential.headersFor(false, signal);
    await clock.advance(3 * 60 * 60_000);
    await credential.headersFor(false, signal);
    expect(attempts).toEqual([password, password]);
  });

  it('is still good while nobody answers its renewal', async () => {
    const credential = open();
    await credential.headersFor(false, signal);
    await clock.advance(91 * 60_000);
    answers = [gone];
    expect((await credential.headersFor(true, signal)).headers['csrfpreventiontoken']).toBe('csrf-t1');
    expect((await credential.headersFor(true, signal)).headers['csrfpreventiontoken']).toBe('csrf-t3');
  });

  it('that was refused is taken anew, once for all that were refused with it', async () => {
    const credential = open();
    const { mark } = await credential.headersFor(false, signal);
    await clock.advance(60_000);
    const again = await Promise.all(Array.from({ length: 20 }, () => credential.refused(mark, signal)));
    expect(again.every(Boolean)).toBe(true);
    expect(await credential.refused(mark, signal)).toBe(true);
    expect(attempts).toEqual([password, password]);
  });

  it('that is refused again and again was not refused for its age: few logins are made for it', async () => {
    const credential = open();
    for (let second = 0; second < 60; second += 1) {
      const { mark } = await credential.headersFor(false, signal);
      await credential.refused(mark, signal);
      await clock.advance(1000);
    }
    expect(attempts).toHaveLength(1 + 6);
  });

  it('of a user with a second factor is none', async () => {
    answers = [() => ({ ...ticket('!tfa!'), NeedTFA: 1 })];
    await expect(open().headersFor(false, signal)).rejects.toMatchObject({
      kind: 'unauthenticated',
      reason: 'second-factor',
      nextStep: expect.stringContaining('API token'),
    });
  });

  it.each([
    ['nothing', null],
    ['no CSRF token', { ticket: 'PVE:x' }],
    ['an end of line', { ticket: 'PVE:x\r\ny', CSRFPreventionToken: 'z' }],
    ['the end of a cookie', { ticket: 'PVE:x;y', CSRFPreventionToken: 'z' }],
  ])('is not %s', async (_name, data) => {
    answers = [() => data];
    await expect(open().headersFor(false, signal)).rejects.toMatchObject({ kind: 'internal' });
  });
});

describe('a refused login', () => {
  it('is not tried again before its time, and then ever more seldom', async () => {
    const credential = open();
    answers = Array.from({ length: 20 }, () => refuse);
    const asked: number[] = [];
    for (let second = 0; second < 100; second += 1) {
      const before = attempts.length;
      await expect(credential.headersFor(false, signal)).rejects.toMatchObject({
        kind: 'unauthenticated',
        reason: 'login',
        subject: { cluster: 'rig', acted: 'no' },
      });
      if (attempts.length > before) asked.push(second);
      await clock.advance(1000);
    }
    expect(asked).toEqual([0, 10, 30, 70]);
  });

  it('does not say the password', async () => {
    const credential = open();
    answers = [refuse];
    const error = await credential.headersFor(false, signal).catch((caught: unknown) => caught);
    expect(JSON.stringify(error)).not.toContain(password);
    expect(String(error)).not.toContain(password);
  });

  it('is forgotten once one went well', async () => {
    const credential = open();
    answers = [refuse];
    await expect(credential.headersFor(false, signal)).rejects.toMatchObject({ reason: 'login' });
    await clock.advance(10_000);
    await credential.headersFor(false, signal);
    expect(attempts).toHaveLength(2);
  });
});

describe('whoever gives up', () => {
  it('leaves the login to the others', async () => {
    const credential = open();
    const giveUp = new AbortController();
    const first = credential.headersFor(false, giveUp.signal);
    const second = credential.headersFor(false, signal);
    giveUp.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    expect((await second).mark).toBe(1);
    expect(attempts).toHaveLength(1);
  });
});
