import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { ExecInput, ExecOutput, ExecStart } from '#shared/streams.ts';
import { createFakeClock } from '../../../../test/fakes/clock.ts';
import type { ExecChannel } from '../../backend.ts';
import type { ClusterApi } from '../cluster-api.ts';
import { agentExec } from './agent-exec.ts';

const never = new AbortController().signal;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
/** As the API tells bytes: one character each. */
const asBytes = (text: string): string => Buffer.from(text).toString('latin1');

const startOf = (parts: Partial<ExecStart> = {}): ExecStart => ({
  instance: 'web-x7k2p',
  command: ['uname', '-a'],
  stdin: false,
  tty: false,
  size: { columns: 80, rows: 24 },
  env: {},
  user: '',
  workingDir: '',
  project: 'default',
  ...parts,
});

/** A guest agent behind the API: every question is answered by the next of the answers to it. */
function guestAgent(statuses: readonly unknown[], failures: Readonly<Record<string, DroverError>> = {}) {
  const calls: { readonly method: string; readonly parameters: Record<string, unknown> }[] = [];
  const left = [...statuses];
  const call = async (method: string, parameters: object): Promise<unknown> => {
    calls.push({ method, parameters: { ...parameters } });
    const name = method.split('/').at(-1) ?? '';
    const failure = failures[name];
    if (failure !== undefined) throw failure;
    if (name === 'ping') return {};
    if (name === 'exec') return { pid: 17 };
    const next = left.length > 1 ? left.shift() : left[0];
    if (next instanceof Error) throw next;
    return next;
  };
  return { calls, api: { call: call as unknown as ClusterApi['call'] } };
}

type Agent = ReturnType<typeof guestAgent>;

function open(agent: Agent, start: ExecStart, signal = never) {
  const clock = createFakeClock();
  const places = [{ node: 'pve1', vmid: 7250 }];
  const tools = { api: agent.api, clock, execId: 'x1', place: () => places.at(-1) ?? { node: '', vmid: 0 } };
  return { clock, places, channel: agentExec(tools, start, signal) };
}

/** All that comes, while time passes. */
async function gather(
  channel: ExecChannel,
  clock: ReturnType<typeof createFakeClock>,
): Promise<ExecOutput[]> {
  const seen: ExecOutput[] = [];
  let done = false;
  const reading = (async () => {
    for await (const each of channel.output) seen.push(each);
  })().finally(() => {
    done = true;
  });
  reading.catch(() => undefined);
  for (let turns = 0; !done && turns < 500; turns += 1) await clock.advance(1000);
  await reading;
  return seen;
}

const textOf = (output: readonly ExecOutput[], kind: 'stdout' | 'stderr'): string =>
  output.flatMap((each) => (each.kind === kind ? [Buffer.from(each.data).toString()] : [])).join('');
const exitOf = (output: readonly ExecOutput[]) => output.find((each) => each.kind === 'exit')?.exit;
const ended = { exited: 1, exitcode: 0 };

describe('a command through the guest agent', () => {
  it('is run literally, and told once it has ended', async () => {
    const agent = guestAgent([
      { exited: 0 },
      { exited: 0 },
      { ...ended, 'out-data': asBytes('größe ☃\n'), 'err-data': 'hm\n' },
    ]);
    const { clock, channel } = open(agent, startOf({ command: ['echo', '$(id)', ''] }));
    const output = await gather(await channel, clock);
    expect(output.map(({ kind }) => kind)).toEqual(['started', 'stdout', 'stderr', 'exit']);
    expect([textOf(output, 'stdout'), textOf(output, 'stderr')]).toEqual(['größe ☃\n', 'hm\n']);
    expect(exitOf(output)).toMatchObject({ code: 0, unknown: false });
    expect(agent.calls[0]).toEqual({
      method: 'POST /nodes/{node}/qemu/{vmid}/agent/exec',
      parameters: { node: 'pve1', vmid: 7250, command: ['echo', '$(id)', ''] },
    });
    expect(agent.calls.slice(1).map(({ parameters }) => parameters['pid'])).toEqual([17, 17, 17]);
  });

  it('keeps bytes that are no text, and text that was read as such on the way', async () => {
    const bytes = guestAgent([{ ...ended, 'out-data': '\u00ff\u0000\u0080' }]);
    const first = open(bytes, startOf());
    const [, stdout] = await gather(await first.channel, first.clock);
    expect(stdout).toMatchObject({ kind: 'stdout', data: Buffer.from([0xff, 0, 0x80]) });
    const text = guestAgent([{ ...ended, 'out-data': '☃' }]);
    const second = open(text, startOf());
    expect(textOf(await gather(await second.channel, second.clock), 'stdout')).toBe('☃');
  });

  it.each<[string, object, { readonly code: number; readonly unknown: boolean }]>([
    ['with a code', { exited: 1, exitcode: 3 }, { code: 3, unknown: false }],
    ['by a signal', { exited: 1, signal: 9 }, { code: 137, unknown: false }],
    ['in a way that nobody tells', { exited: true }, { code: 0, unknown: true }],
    ['with a code as text', { exited: '1', exitcode: '4' }, { code: 4, unknown: false }],
  ])('ends %s', async (_name, status, exit) => {
    const { clock, channel } = open(guestAgent([status]), startOf());
    expect(exitOf(await gather(await channel, clock))).toMatchObject(exit);
  });

  it('tells that its output is not all there was', async () => {
    const agent = guestAgent([{ ...ended, 'out-data': 'a', 'out-truncated': 1, 'err-truncated': 1 }]);
    const { clock, channel } = open(agent, startOf());
    expect(textOf(await gather(await channel, clock), 'stderr')).toBe(
      'drover: the guest agent kept only the beginning of its output and messages\n',
    );
  });

  it('gets its input at once, byte by byte, when that has ended', async () => {
    const agent = guestAgent([ended]);
    const { clock, channel } = open(agent, startOf({ command: ['cat'], stdin: true }));
    const opened = await channel;
    await opened.send({ kind: 'stdin', data: utf8('grö') });
    await opened.send({ kind: 'resize', size: { columns: 1, rows: 1 } });
    await opened.send({ kind: 'stdin', data: new Uint8Array([0xff]) });
    expect(agent.calls.map(({ method }) => method.split('/').at(-1))).toEqual(['ping']);
    await opened.send({ kind: 'stdin-end' });
    await gather(opened, clock);
    expect(agent.calls[1]?.parameters).toMatchObject({ 'input-data': `${asBytes('grö')}\u00ff` });
  });

  it('takes no more input than the agent does', async () => {
    const { channel } = open(guestAgent([ended]), startOf({ stdin: true }));
    const opened = await channel;
    await opened.send({ kind: 'stdin', data: new Uint8Array(65_536) });
    const more = opened.send({ kind: 'stdin', data: new Uint8Array(1) });
    await expect(more).rejects.toMatchObject({ kind: 'resource-exhausted' });
    const read = opened.output[Symbol.asyncIterator]().next();
    await expect(read).rejects.toMatchObject({ kind: 'resource-exhausted' });
  });

  it.each<[string, Partial<ExecStart>, RegExp]>([
    ['a terminal', { tty: true }, /terminal \(tty\)/],
    ['another user', { user: 'root' }, /user/],
    ['a directory', { workingDir: '/srv' }, /workingDir/],
    ['an environment', { env: { A: 'b' } }, /env/],
  ])('has no %s, and says so by name before anything is asked', async (_name, parts, message) => {
    const agent = guestAgent([ended]);
    const { channel } = open(agent, startOf(parts));
    await expect(channel).rejects.toMatchObject({
      kind: 'unimplemented',
      message: expect.stringMatching(message) as string,
    });
    expect(agent.calls).toEqual([]);
  });

  it('gets no signals', async () => {
    const { channel } = open(guestAgent([ended]), startOf());
    const item: ExecInput = { kind: 'signal', signal: 15 };
    await expect((await channel).send(item)).rejects.toMatchObject({ kind: 'unimplemented' });
  });

  it.each([false, true])('is refused at once where nobody answers inside, with input: %s', async (stdin) => {
    const refusal = new DroverError('failed-precondition', 'QEMU guest agent is not running');
    const agent = guestAgent([], { ping: refusal, exec: refusal });
    await expect(open(agent, startOf({ stdin })).channel).rejects.toBe(refusal);
    expect(agent.calls).toHaveLength(1);
  });

  it('is not begun a second time when the answer is lost', async () => {
    const lost = new DroverError('unavailable', 'the connection ended', { reason: 'connection' });
    const agent = guestAgent([], { exec: lost });
    await expect(open(agent, startOf()).channel).rejects.toBe(lost);
    expect(agent.calls).toHaveLength(1);
  });

  it('goes on while the cluster is away, and where its guest has moved to', async () => {
    const away = new DroverError('unavailable', 'no endpoint answers');
    const agent = guestAgent([away, away, { ...ended, 'out-data': 'x' }]);
    const { clock, places, channel } = open(agent, startOf());
    const opened = await channel;
    places.push({ node: 'pve2', vmid: 7250 });
    expect(textOf(await gather(opened, clock), 'stdout')).toBe('x');
    expect(agent.calls.at(-1)?.parameters).toMatchObject({ node: 'pve2' });
  });

  it('says that it does not know the end where the answer with it was lost', async () => {
    const gone = new DroverError('internal', 'Agent error: PID 17 does not exist');
    const agent = guestAgent([new DroverError('deadline-exceeded', 'no answer'), gone]);
    const { clock, channel } = open(agent, startOf());
    const output = await gather(await channel, clock);
    expect(exitOf(output)).toMatchObject({ unknown: true });
    expect(textOf(output, 'stderr')).toMatch(/answer that told how was lost/);
  });

  it.each([
    ['what nobody can mend', [new DroverError('permission-denied', 'no VM.GuestAgent.Unrestricted')]],
    ['a cluster that stays away', [new DroverError('unavailable', 'no endpoint answers')]],
  ])('gives up over %s', async (_name, statuses) => {
    const { clock, channel } = open(guestAgent(statuses), startOf());
    await expect(gather(await channel, clock)).rejects.toBe(statuses[0]);
  });

  it('is left to itself when its channel is closed, with nothing left to wait for', async () => {
    const { clock, channel } = open(guestAgent([{ exited: 0 }]), startOf());
    const opened = await channel;
    const reading = gather(opened, clock);
    reading.catch(() => undefined);
    await clock.advance(5000);
    opened.close();
    await expect(reading).rejects.toBeDefined();
    expect(clock.waiting()).toBe(0);
    await expect(opened.send({ kind: 'stdin-end' })).rejects.toMatchObject({ kind: 'failed-precondition' });
  });
});
