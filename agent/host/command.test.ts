import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { isKind } from '#shared/errors.ts';
import { until } from '../../test/until.ts';
import { createHostCommands } from './command.ts';

const commands = () => createHostCommands({ clock: systemClock });
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('host commands', () => {
  it('gives exit code and both outputs, and counts the spawn', async () => {
    const host = commands();
    const result = await host.run('sh', ['-c', 'echo out; echo err >&2; exit 3']);
    expect(result).toEqual({ exitCode: 3, stdout: 'out\n', stderr: 'err\n' });
    expect(host.spawns.get('sh')).toBe(1);
  });

  it('passes three variables and those that were asked for', async () => {
    const { stdout } = await commands().run('env', [], { env: { MORE: '1' } });
    const names = stdout
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names.toSorted((a = '', b = '') => a.localeCompare(b))).toEqual([
      'HOME',
      'LC_ALL',
      'MORE',
      'PATH',
    ]);
  });

  it('reports a death by signal as 128 + n', async () => {
    expect((await commands().run('sh', ['-c', 'kill -9 $$'])).exitCode).toBe(137);
  });

  it('names the package of a tool that is missing', async () => {
    const host = createHostCommands({ clock: systemClock, searchPath: '/nowhere' });
    await expect(host.run('perl', [])).rejects.toMatchObject({
      kind: 'unavailable',
      nextStep: 'apt-get install perl-base',
    });
    await expect(host.start('conmon', [], { pipes: ['ignore'] })).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });

  it('refuses a NUL before it reaches the tool', async () => {
    await expect(commands().run('echo', ['a\0b'])).rejects.toMatchObject({ kind: 'invalid-argument' });
    const input = commands().run('cat', [], { input: 'a\0b' });
    await expect(input).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it('gives a tool its input to the last byte, and none where there is none', async () => {
    const host = commands();
    const input = `${'é\n'.repeat(100_000)}end`;
    expect((await host.run('cat', [], { input })).stdout).toBe(input);
    expect((await host.run('cat', [])).stdout).toBe('');
    // It is no descriptor beyond the first three.
    const { stdout } = await host.run('ls', ['/proc/self/fd'], { input });
    expect(stdout).toBe((await host.run('ls', ['/proc/self/fd'])).stdout);
  });

  it('kills the whole group on timeout, although a grandchild holds the output', async () => {
    const host = commands();
    const startedMs = systemClock.monotonicMs();
    const error = await host
      .run('sh', ['-c', 'sleep 4321 & sleep 4321'], { timeoutMs: 200 })
      .catch((e: unknown) => e);
    expect(isKind(error, 'deadline-exceeded')).toBe(true);
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(2000);
    await until(async () => (await host.run('pgrep', ['-f', '^sleep 4321$'])).exitCode === 1, {
      what: 'no sleeper',
    });
  });

  it('says unknown when the caller gives up, and does not start what was given up before', async () => {
    const host = commands();
    const late = new AbortController();
    const running = host.run('sleep', ['60'], { signal: late.signal });
    await until(() => host.spawns.get('sleep') === 1, { what: 'spawned' });
    late.abort();
    await expect(running).rejects.toMatchObject({ kind: 'deadline-exceeded' });
    await expect(host.run('sleep', ['60'], { signal: late.signal })).rejects.toThrow(/not started/);
    expect(host.spawns.get('sleep')).toBe(1);
  });

  it('stops a tool that prints without end', async () => {
    const endless = commands().run('yes', [], { maxOutputBytes: 1000, timeoutMs: 5000 });
    await expect(endless).rejects.toMatchObject({ kind: 'internal' });
  });

  it('talks with a started command over extra pipes, and leaves it when it is told to', async () => {
    const child = await commands().start('sh', ['-c', 'read line <&4; echo "got $line" >&3; exit 6'], {
      pipes: ['ignore', 'ignore', 'ignore', 'read', 'write'],
    });
    child.writable(4).write('hello\n');
    let text = '';
    for await (const chunk of child.readable(3)) text += String(chunk);
    expect(text).toBe('got hello\n');
    expect(await child.exitCode).toBe(6);
    await until(() => !isAlive(child.pid), { what: 'gone' });
  });

  it('hears the first line of a tool that goes on, or that it ended without one', async () => {
    const host = commands();
    const script = 'echo answer >&3; sleep 0.1; exit 4';
    expect(await host.ask('sh', ['-c', script])).toMatchObject({ line: 'answer' });
    expect(await host.ask('sh', ['-c', 'exit 4'])).toEqual({ line: undefined, exitCode: 4 });
  });

  it('runs many at once, each with its own output', async () => {
    const host = commands();
    const names = Array.from({ length: 40 }, (_, place) => `é${place}`);
    const results = await Promise.all(names.map((name) => host.run('printf', ['%s', name])));
    expect(results.map(({ stdout }) => stdout)).toEqual(names);
  });

  it('says that the outcome is unknown when the spawner dies, and goes on with another', async () => {
    const host = commands();
    const { stdout } = await host.run('sh', ['-c', 'echo $PPID']);
    const running = host.run('sleep', ['5432']);
    await until(() => host.spawns.get('sleep') === 1, { what: 'spawned' });
    process.kill(Number(stdout), 'SIGKILL');
    await expect(running).rejects.toMatchObject({ kind: 'deadline-exceeded' });
    expect((await host.run('true', [])).exitCode).toBe(0);
    const sleeper = async (): Promise<string> => (await host.run('pgrep', ['-f', '^sleep 5432$'])).stdout;
    const left = await sleeper();
    if (left !== '') process.kill(Number(left), 'SIGKILL');
  });

  it('starts at most one per turn of the event loop', async () => {
    const host = commands();
    let counted = 0;
    let most = 0;
    const starting = Promise.all(
      Array.from({ length: 12 }, () => host.start('true', [], { pipes: ['ignore'] })),
    );
    while ((host.spawns.get('true') ?? 0) < 12) {
      await systemClock.turn();
      const now = host.spawns.get('true') ?? 0;
      most = Math.max(most, now - counted);
      counted = now;
    }
    await starting;
    expect(most).toBeLessThanOrEqual(2);
  });
});
