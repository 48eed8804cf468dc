import { describe, expect, it } from 'vitest';
import { wireMinor } from '#shared/version.ts';
import { formatExecInput, formatExecStart } from '#shared/wire/exec.ts';
import { formatInstanceSpec, formatOrder, parseInstanceState } from '#shared/wire/instance.ts';
import { ensureRunning, openApi, script } from '../../test/fakes/agent-api.ts';
import { checkVersion } from './hello.ts';

describe('the session', () => {
  it('begins with Hello', async () => {
    await using api = await openApi();
    const early = api.session.inspectInstance({ instanceId: api.world.newId() });
    await expect(early).rejects.toMatchObject({ kind: 'failed-precondition', reason: 'hello-missing' });
    const answer = await api.session.hello(api.hello);
    expect(answer).toMatchObject({
      wireMinor,
      bootId: 'boot-1',
      facts: {
        name: 'h1',
        labels: { zone: 'a' },
        pools: [{ name: 'local', capabilities: ['snapshots', 'idmap'] }],
      },
    });
    expect(answer.capabilities).toEqual(
      expect.arrayContaining(['pause', 'stats', 'console', 'volumes', 'image-remove']),
    );
  });

  it.each([
    ['another fleet', { fleetId: '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0002' }, 'unknown-fleet'],
    ['a control plane that is too new', { wireMinor: wireMinor + 2 }, 'version-skew'],
  ])('refuses %s', async (_name, part, reason) => {
    await using api = await openApi();
    const hello = api.session.hello({ ...api.hello, ...part });
    await expect(hello).rejects.toMatchObject({ kind: 'failed-precondition', reason });
  });

  it('works with a control plane one ahead, and with none behind', () => {
    expect(() => checkVersion({ version: '0.2.0', wireMinor: 5 }, 4)).not.toThrow();
    expect(() => checkVersion({ version: '0.0.1', wireMinor: 3 }, 4)).toThrow(/upgrade|wire minor 3/);
  });

  it('carries a whole life', async () => {
    await using api = await openApi();
    await api.session.hello(api.hello);
    const id = await ensureRunning(api);
    const listed = [];
    for await (const state of api.session.listInstances({})) listed.push(state);
    expect(listed).toMatchObject([{ instanceId: id, spec: { workload: 'app' } }]);

    const exec = api.session.exec();
    const start = { instance: id, command: ['cat'], stdin: true, tty: false, env: {}, user: '' } as const;
    const size = { columns: 80, rows: 24 };
    await exec.send(formatExecStart({ ...start, size, workingDir: '', project: '' }));
    await exec.send(formatExecInput({ kind: 'stdin', data: Buffer.from('back') }));
    await exec.send(formatExecInput({ kind: 'stdin-end' }));
    const outputs = [];
    for await (const { output } of exec.output) outputs.push(output?.$case);
    expect(outputs.at(-1)).toBe('exit');
    expect(outputs).toContain('stdout');

    const lines = [];
    for await (const line of api.session.streamLogs({ instanceId: id, options: undefined })) {
      lines.push(Buffer.from(line.content).toString());
    }
    expect(lines).toContain('hello');
    await api.session.removeInstance({ order: formatOrder(api.world.order(id, 1)), graceMs: 20 });
    const gone = api.session.inspectInstance({ instanceId: id });
    await expect(gone).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('pulls with progress, lists and resolves images', async () => {
    await using api = await openApi();
    await api.session.hello(api.hello);
    const { image: reference } = api.world.spec([]);
    const steps = [];
    for await (const progress of api.session.pullImage({ reference, credential: '' })) steps.push(progress);
    expect(steps.at(-1)).toMatchObject({ step: 'ready', done: true });
    const images = [];
    for await (const image of api.session.listImages({})) images.push(image.digest);
    expect(images).toEqual([steps.at(-1)?.digest]);
    const resolved = await api.session.resolveImage({ reference: 'registry.test/app:1', credential: '' });
    expect(reference).toContain(resolved.digest);
  });

  it('reports the node at once', async () => {
    await using api = await openApi();
    await api.session.hello(api.hello);
    for await (const report of api.session.watchNode({})) {
      expect(report.facts?.name).toBe('h1');
      expect(report.conditions.map(({ type }) => type)).toContain('DiskPressure');
      expect(report.capacity?.pools).toEqual([{ name: 'local', freeMib: 1024 * 1024 }]);
      break;
    }
  });
});

describe('the local socket', () => {
  it('reads, stops and removes, and never creates', async () => {
    await using api = await openApi();
    await api.session.hello(api.hello);
    const id = await ensureRunning(api);
    const spec = formatInstanceSpec(api.world.spec(script));
    const order = formatOrder(api.world.order(api.world.newId(), 1));
    const ensure = api.local.ensureInstance({ order, spec });
    await expect(ensure).rejects.toMatchObject({ kind: 'permission-denied' });
    const bare = { fleetId: '', fleetEpoch: 0n, generation: 0n, instanceId: id };
    const stop = { ...bare, requestId: '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b1111' };
    const { state } = await api.local.stopInstance({ order: stop });
    expect(parseInstanceState(state).phase).toBe('stopped');
    const remove = { ...bare, requestId: '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b2222' };
    await api.local.removeInstance({ order: remove });
    expect(api.instances.list()).toEqual([]);
  });
});
