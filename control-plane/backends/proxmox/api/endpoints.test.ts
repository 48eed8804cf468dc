import { beforeEach, describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { type FakeClock, createFakeClock } from '../../../../test/fakes/clock.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import { parseEndpoint } from './addresses.ts';
import { type Endpoint, type Endpoints, createEndpoints } from './endpoints.ts';

const fingerprints = { kind: 'fingerprints', sha256: ['AA', 'BB'] } as const;
const refused = (words = 'connection refused'): DroverError =>
  new DroverError('unavailable', words, { reason: 'connection', subject: { acted: 'no' } });
let clock: FakeClock;
let probed: string[];
let probe: (endpoint: Endpoint) => Promise<void>;

beforeEach(() => {
  clock = createFakeClock();
  probed = [];
  probe = () => Promise.reject(refused('still refused'));
});

function open(given = ['a', 'b', 'c']): Endpoints {
  return createEndpoints({
    cluster: 'rig',
    given,
    trust: fingerprints,
    clock,
    random: { ...createSeededRandom(1), fraction: () => 0 },
    probe: (endpoint) => {
      probed.push(endpoint.host);
      return probe(endpoint);
    },
  });
}
const names = (endpoints: Endpoints, via?: string): string[] =>
  endpoints.candidates(via).map(({ host }) => host);
const named = (endpoints: Endpoints, host: string): Endpoint => {
  const found = endpoints.candidates().find((endpoint) => endpoint.host === host);
  if (found === undefined) throw new Error(`${host} is no candidate`);
  return found;
};

describe('an address', () => {
  it.each([
    ['10.0.0.11', '10.0.0.11:8006'],
    ['10.0.0.11:443', '10.0.0.11:443'],
    ['PVE1.example', 'pve1.example:8006'],
    ['[FD00::1]', '[fd00::1]:8006'],
    ['[fd00::1]:8007', '[fd00::1]:8007'],
    ['[FD00:0:0:0::0001]:8007', '[fd00::1]:8007'],
    ['https://pve1:8006/', 'pve1:8006'],
    [' pve1 ', 'pve1:8006'],
  ])('%s is %s', (text, address) => {
    expect(parseEndpoint(text).address).toBe(address);
  });

  it.each([
    '',
    'http://a',
    'a:0',
    'a:65536',
    'a/b',
    'a b',
    'a\r\nb',
    'u@a',
    '-a',
    'fd00::1',
    '[fd00:::1]',
    '[1::2::3]',
    'a:8006?x',
    'x'.repeat(300),
  ])('is not %j', (text) => {
    expect(() => parseEndpoint(text)).toThrow(expect.objectContaining({ kind: 'invalid-argument' }));
  });
});

describe('endpoints', () => {
  it('are asked in the order in which they were given, each once', () => {
    expect(names(open(['b', 'a', 'b:8006']))).toEqual(['b', 'a']);
  });

  it('begin with the node that is wanted', () => {
    const endpoints = open(['a']);
    endpoints.learn([
      { address: 'a', node: 'pve1' },
      { address: 'b', node: 'pve2' },
    ]);
    expect(names(endpoints, 'pve2')).toEqual(['b', 'a']);
    expect(names(endpoints, 'pve9')).toEqual(['a', 'b']);
  });

  it('that failed rest twice as long each time, up to a minute', async () => {
    const endpoints = open(['a']);
    const rests: number[] = [];
    for (let count = 0; count < 9; count += 1) {
      endpoints.failed(named(endpoints, 'a'), refused());
      let restMs = 0;
      for (; names(endpoints).length === 0; restMs += 500) await clock.advance(500);
      rests.push(restMs / 1000);
    }
    expect(rests).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  it('count calls that failed together as one', async () => {
    const endpoints = open(['a']);
    const one = named(endpoints, 'a');
    for (let count = 0; count < 50; count += 1) endpoints.failed(one, refused());
    await clock.advance(1000);
    expect(names(endpoints)).toEqual(['a']);
  });

  it('that rested are tried aside while others answer, one trial at a time', async () => {
    const endpoints = open(['a', 'b']);
    endpoints.failed(named(endpoints, 'a'), refused());
    expect(names(endpoints)).toEqual(['b']);
    await clock.advance(1000);
    expect(names(endpoints)).toEqual(['b']);
    names(endpoints);
    expect(probed).toEqual(['a']);
    await clock.settle();
    expect(endpoints.list()[0]).toEqual({ address: 'a:8006', problem: 'still refused' });
    names(endpoints);
    expect(probed).toEqual(['a']);
    probe = () => Promise.resolve();
    await clock.advance(2000);
    names(endpoints);
    await clock.settle();
    expect(names(endpoints)).toEqual(['a', 'b']);
    expect(endpoints.list()[0]?.problem).toBe('');
  });

  it('that were silent are asked last, and not for dead', () => {
    const endpoints = open();
    endpoints.silent(named(endpoints, 'a'), 'no answer within 30 s');
    expect(names(endpoints)).toEqual(['b', 'c', 'a']);
    expect(endpoints.list()[2]).toEqual({ address: 'a:8006', problem: 'no answer within 30 s' });
  });

  it('that were silent are looked up aside, and are dead or well', async () => {
    const endpoints = open();
    endpoints.silent(named(endpoints, 'a'), 'no answer within 30 s');
    expect(names(endpoints)).toEqual(['b', 'c', 'a']);
    expect(probed).toEqual([]);
    await clock.advance(1000);
    names(endpoints);
    await clock.settle();
    expect(names(endpoints)).toEqual(['b', 'c']);
    probe = () => Promise.resolve();
    endpoints.silent(named(endpoints, 'b'), 'cut off');
    await clock.advance(1000);
    names(endpoints);
    await clock.settle();
    expect(probed).toEqual(['a', 'a', 'b']);
    expect(endpoints.list().map(({ problem }) => problem)).toEqual(['', '', '']);
  });

  it('that answer have no problem', () => {
    const endpoints = open(['a']);
    const one = named(endpoints, 'a');
    endpoints.silent(one, 'no answer within 30 s');
    endpoints.answered(one);
    expect(endpoints.list()).toEqual([{ address: 'a:8006', problem: '' }]);
  });

  it('keep their object while nothing changed, for connections hang on it', () => {
    const endpoints = open(['a']);
    const members = [
      { address: 'a', node: 'pve1' },
      { address: 'b', node: 'pve2', fingerprint: 'cc' },
    ];
    endpoints.learn(members);
    const before = endpoints.candidates();
    endpoints.learn(members.map((member) => ({ ...member })));
    expect(endpoints.candidates().every((endpoint, place) => endpoint === before[place])).toBe(true);
    expect(before.map(({ trust }) => trust)).toEqual([
      fingerprints,
      { kind: 'fingerprints', sha256: ['CC'] },
    ]);
  });

  it('that a person gave keep what the person pinned', () => {
    const endpoints = open(['a']);
    endpoints.learn([{ address: 'a', node: 'pve1', fingerprint: 'EE' }]);
    expect(named(endpoints, 'a').trust).toEqual(fingerprints);
  });

  it.each([
    { given: ['a:443'], learned: ['a:443', 'b:443', 'c:9000'] },
    { given: ['a:443', 'b:444'], learned: ['a:443', 'b:444', 'c:9000'] },
    { given: ['a:443', 'x:444'], learned: ['a:443', 'b:8006', 'c:9000'] },
    { given: ['192.0.2.1:18006'], learned: ['a:8006', 'b:8006', 'c:9000'] },
    { given: ['192.0.2.1:18006', 'a:443'], learned: ['a:443', 'b:443', 'c:9000'] },
  ])('are learned with the ports that were given: $given', ({ given, learned }) => {
    const endpoints = open(given);
    endpoints.learn([{ address: 'a' }, { address: 'b' }, { address: 'c:9000' }]);
    expect(endpoints.list().map(({ address }) => address)).toEqual(expect.arrayContaining(learned));
  });

  it('that an authority speaks for need no fingerprint', () => {
    const trust = { kind: 'authority', pem: 'x' } as const;
    const endpoints = createEndpoints({
      cluster: 'rig',
      given: ['a'],
      trust,
      clock,
      random: createSeededRandom(1),
      probe,
    });
    endpoints.learn([{ address: 'b', node: 'pve2', fingerprint: 'EE' }]);
    expect(named(endpoints, 'b').trust).toBe(trust);
  });
});

describe('none that answers', () => {
  it('is told with what is wrong with each', () => {
    const endpoints = open(['a', 'b']);
    for (const endpoint of endpoints.candidates())
      endpoints.failed(endpoint, refused(`${endpoint.address}: refused`));
    expect(endpoints.noneAnswers()).toMatchObject({
      kind: 'unavailable',
      reason: 'connection',
      message: 'none of the 2 known endpoints of cluster rig answers (a:8006: refused; b:8006: refused)',
      nextStep: "check this host's own network first, then the nodes of rig",
      subject: { cluster: 'rig', acted: 'no' },
    });
  });

  it('is told of the certificate where one has changed', () => {
    const endpoints = open(['a', 'b']);
    const [one, other] = endpoints.candidates();
    if (one === undefined || other === undefined) throw new Error('two were given');
    endpoints.failed(one, refused());
    endpoints.failed(
      other,
      new DroverError('failed-precondition', 'was X, is Y', {
        reason: 'certificate',
        nextStep: 'compare',
        subject: { endpoint: 'b:8006', found: 'Y' },
      }),
    );
    expect(endpoints.noneAnswers()).toMatchObject({
      kind: 'failed-precondition',
      reason: 'certificate',
      message: 'was X, is Y',
      nextStep: 'compare',
      subject: { cluster: 'rig', found: 'Y', acted: 'no' },
    });
  });
});
