import { Server, ServerCredentials, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { DroverError, type ErrorKind, errorKinds } from '#shared/errors.ts';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { type RpcClient, createClient } from '#shared/rpc-client.ts';
import { type Handlers, mount } from '#shared/rpc-server.ts';
import { formatExecInput, formatExecOutput, parseExecInput } from '#shared/wire/exec.ts';

type Runtime = typeof RuntimeServiceService;

let server: Server;
let client: RpcClient<Runtime>;
let produced = 0;
let cancelled = 0;

/** Enough of a service to see every kind of call through the real library. */
const handlers = {
  inspectInstance: async ({ instanceId }: { instanceId: string }) => {
    if (instanceId === 'bug') throw new TypeError('secret detail');
    throw new DroverError(instanceId as ErrorKind, `wanted é, found "${instanceId}"`, {
      subject: { instance: instanceId },
      nextStep: 'look elsewhere',
      reason: 'stale-generation',
      faults: [{ field: 'a.b', message: 'is wrong' }],
    });
  },
  listImages: async function* (_request: unknown, { signal }: { signal: AbortSignal }) {
    signal.addEventListener('abort', () => (cancelled += 1));
    while (!signal.aborted) {
      produced += 1;
      const plain = {
        references: [],
        sizeBytes: 0n,
        lastUsedAtMs: 0n,
        ready: true,
        usedBy: 0,
        pinned: false,
      };
      yield { digest: 'x'.repeat(1024), ...plain };
    }
  },
  exec: async function* (requests: AsyncIterable<Parameters<typeof parseExecInput>[0]>) {
    for await (const request of requests) {
      const input = parseExecInput(request);
      if (input?.kind === 'stdin') yield formatExecOutput({ kind: 'stdout', data: input.data });
      if (input?.kind === 'stdin-end') return;
    }
  },
} as unknown as Handlers<Runtime>;

beforeEach(async () => {
  server = new Server();
  const guard = <C>(context: C): C => context;
  mount(server, RuntimeServiceService, handlers, { guard });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, found) =>
      error ? reject(error) : resolve(found),
    );
  });
  client = createClient(RuntimeServiceService, `127.0.0.1:${port}`, credentials.createInsecure());
  produced = 0;
  cancelled = 0;
});

afterEach(() => {
  client.close();
  server.forceShutdown();
});

describe('errors over the wire', () => {
  it.each(Object.keys(errorKinds) as ErrorKind[])('carries %s with all that belongs to it', async (kind) => {
    await expect(client.inspectInstance({ instanceId: kind })).rejects.toMatchObject({
      kind,
      message: `wanted é, found "${kind}"`,
      subject: { instance: kind },
      nextStep: 'look elsewhere',
      reason: 'stale-generation',
      faults: [{ field: 'a.b', message: 'is wrong' }],
    });
  });

  it('keeps the words of a bug on its own side', async () => {
    const failure = await client.inspectInstance({ instanceId: 'bug' }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'internal' });
    expect((failure as Error).message).not.toContain('secret');
  });

  it('tells of a peer that is not there', async () => {
    const nobody = createClient(RuntimeServiceService, '127.0.0.1:1', credentials.createInsecure());
    await expect(nobody.listInstances({})[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      kind: 'unavailable',
    });
    nobody.close();
  });
});

describe('streams', () => {
  it('stop producing while nobody reads, and end when the reader leaves', async () => {
    const stream = client.listImages({});
    for await (const _ of stream) {
      await systemClock.sleep(200);
      const atRest = produced;
      await systemClock.sleep(100);
      expect(produced).toBe(atRest);
      expect(produced).toBeLessThan(5000);
      break;
    }
    while (cancelled === 0) await systemClock.sleep(5);
  });

  it('go both ways', async () => {
    const { send, output } = client.exec();
    await send(formatExecInput({ kind: 'stdin', data: new Uint8Array([1, 2]) }));
    await send(formatExecInput({ kind: 'stdin-end' }));
    const got = [];
    for await (const message of output) got.push(message);
    expect(got).toHaveLength(1);
  });
});
