/** Images of registries, which nodes pull from 9.1 on. */
import { describe, expect, it } from 'vitest';
import type { InstanceSpec } from '#shared/model.ts';
import {
  anyGuest,
  container,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const reference = 'registry.example:5000/team/web:1.4';
const pullMethod = 'POST /nodes/{node}/storage/{storage}/oci-registry-pull';
const nginx = {
  bytes: 41_000_000,
  command: ['/docker-entrypoint.sh', 'nginx', '-g', 'daemon off;'],
  env: ['PATH=/usr/sbin:/usr/bin', 'NGINX_VERSION=1.27'],
};

async function open(
  version: '8.4.21' | '9.2.11' = '9.2.11',
  options: { readonly pace?: number } = {},
): Promise<ProxmoxWorld> {
  const world = await openQuickWorld({ version, ...options });
  world.server.world.internet.images.set(reference, nginx);
  const { backend, node } = world;
  await until(async () => (await Array.fromAsync(backend.listImages(node('pve1'), signal))).length > 1, {
    what: 'its storages',
  });
  return world;
}

const pulls = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => each.endsWith('/oci-registry-pull')).length;
const resolved = async ({ backend, node }: ProxmoxWorld, image = reference): Promise<string> =>
  `${reference}@${(await backend.resolveImage(node('pve1'), image, '', signal)).digest}`;

describe('an image in a registry', () => {
  it('is pulled once whoever asks, listed by its reference, and removed', async () => {
    await using world = await open();
    const { backend } = world;
    const [image, other] = await Promise.all([resolved(world), resolved(world)]);
    expect(other).toBe(image);
    await runGuest(world, { ...container, image });
    expect(await resolved(world)).toBe(image);
    expect(pulls(world)).toBe(1);
    const node = world.node('pve1');
    const pulled = await Array.fromAsync(
      backend.pullImage(node, { reference: image, credential: '' }, signal),
    );
    expect(pulled.at(-1)).toMatchObject({ done: true });
    expect(pulls(world)).toBe(1);
    const listedNow = async () =>
      (await Array.fromAsync(backend.listImages(node, signal))).find(({ references }) =>
        references.includes(reference),
      );
    const listed = await listedNow();
    if (listed === undefined) throw new Error('it is not listed');
    expect(listed).toMatchObject({ sizeBytes: nginx.bytes, pinned: false });
    expect(image).toBe(`${reference}@${listed.digest}`);
    expect(await backend.removeImage(node, listed.digest, signal)).toBe(nginx.bytes);
    expect(await listedNow()).toBeUndefined();
  });

  it.each(['loseAnswer', 'cut'] as const)('is there once after a lost answer (%s)', async (fault) => {
    // Slow enough that the pull is under way still when we look.
    await using world = await open('9.2.11', { pace: 6 });
    world.server.faults[fault](pullMethod);
    const found = resolved(world);
    if (fault === 'cut') {
      // It was never begun: said, and tried again by whoever wants it.
      await expect(found).rejects.toMatchObject({ kind: 'unavailable' });
      await resolved(world);
    } else await found;
    expect(pulls(world)).toBe(fault === 'cut' ? 2 : 1);
    const files = [...world.server.world.storages.volumes('shared', 'pve1').keys()];
    expect(files.filter((each) => each.includes('drover-oci-'))).toHaveLength(1);
  });

  it('that moved on since it was resolved makes no guest', async () => {
    await using world = await open();
    const image = await resolved(world);
    const volumes = world.server.world.storages.volumes('shared', 'pve1');
    for (const volume of volumes.values()) if (volume.volid.includes('drover-oci-')) volume.sizeBytes += 1;
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, { ...container, image }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'failed 1', { what: 'a failure' });
    expect(world.state(order.instanceId)).toMatchObject({
      message: expect.stringMatching(/not what it was when it was resolved/) as string,
    });
    expect(world.server.world.guests.size).toBe(0);
  });

  it('is refused with a digest, which no node can check, and names the tags where there is none', async () => {
    await using world = await open();
    await expect(resolved(world, `${reference}@sha256:${'a'.repeat(64)}`)).rejects.toMatchObject({
      kind: 'unimplemented',
      message: expect.stringMatching(/pull by tag/) as string,
    });
    expect(pulls(world)).toBe(0);
    await expect(resolved(world, 'registry.example:5000/team/web:1.5')).rejects.toMatchObject({
      kind: 'not-found',
      nextStep: expect.stringMatching(/1\.4/) as string,
    });
    await expect(resolved(world, 'registry.example:5000/none:1')).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'download',
    });
  });

  it('is refused for a machine before anything is pulled', async () => {
    await using world = await open();
    const { backend, node } = world;
    await expect(
      backend.resolveImage(node('pve1'), reference, '', signal, 'proxmox-vm'),
    ).rejects.toMatchObject({ kind: 'invalid-argument', message: expect.stringMatching(/disk/) as string });
    expect(pulls(world)).toBe(0);
    await backend.resolveImage(node('pve1'), reference, '', signal, 'proxmox-lxc');
    expect(pulls(world)).toBe(1);
  });

  it('that needs a login is refused by name: nodes have none', async () => {
    await using world = await open();
    const { backend, node } = world;
    const wanted = {
      kind: 'unimplemented',
      message: 'nodes of lab fetch images without a login: their API takes none',
      nextStep: expect.stringMatching(/leave the credential ours out/) as string,
    };
    await expect(backend.resolveImage(node('pve1'), reference, 'ours', signal)).rejects.toMatchObject(wanted);
    const pulling = backend.pullImage(node('pve1'), { reference, credential: 'ours' }, signal);
    await expect(Array.fromAsync(pulling)).rejects.toMatchObject(wanted);
    expect(pulls(world)).toBe(0);
  });

  it('is one of three at once that are brought to a storage, which keeps no guest waiting', async () => {
    await using world = await open('9.2.11', { pace: 8 });
    const { server, backend, node } = world;
    const tags = Array.from({ length: 9 }, (_, place) => `registry.example:5000/team/web:2.${place}`);
    for (const tag of tags) server.world.internet.images.set(tag, nginx);
    let most = 0;
    const running = (): number =>
      ['pve1', 'pve2', 'pve3']
        .flatMap((name) => server.world.tasks.list(name))
        .filter(({ type, exitStatus }) => type === 'ociregistrypull' && exitStatus === undefined).length;
    const found = tags.map((tag, place) =>
      backend.resolveImage(node(`pve${1 + (place % 3)}`), tag, '', signal),
    );
    const guest = runGuest(world);
    let isDone = false;
    void Promise.all(found).then(() => (isDone = true));
    await until(
      () => {
        most = Math.max(most, running());
        return isDone;
      },
      { what: 'all pulled', deadlineMs: 30_000, everyMs: 3 },
    );
    expect(most).toBe(3);
    await guest;
  });

  it('is refused by name before 9.1, with what to do', async () => {
    await using world = await open('8.4.21');
    await expect(resolved(world)).rejects.toMatchObject({
      kind: 'unimplemented',
      message: expect.stringMatching(/8\.4\.21: only from 9\.1 on/) as string,
      nextStep: expect.stringMatching(/name a template/) as string,
    });
    expect(pulls(world)).toBe(0);
  });
});

describe('the program of a container', () => {
  const variables = { GREETING: 'hello, world = "x"', EMPTY: '' };
  const specOf = (image: string, patch: Partial<InstanceSpec> = {}): InstanceSpec => ({
    ...container,
    image,
    ...patch,
  });

  it('is that of its image where nothing is said, and its variables join those of the image', async () => {
    await using world = await open();
    const image = await resolved(world);
    const order = await runGuest(world, specOf(image, { env: variables }));
    const guest = anyGuest(world);
    expect(guest.config['entrypoint']).toBe("/docker-entrypoint.sh nginx -g 'daemon off;'");
    expect(guest.config['env']?.split('\0')).toEqual([...nginx.env, 'GREETING=hello, world = "x"', 'EMPTY=']);
    const { pid } = guest;
    const changed = specOf(image, { command: ['/bin/web', '-p', '80'], env: { ...variables, EMPTY: 'no' } });
    await world.backend.ensureInstance({ ...order, generation: 2 }, changed, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'its second generation' });
    expect(guest.config).toMatchObject({ entrypoint: '/bin/web -p 80' });
    expect(guest.config['env']).toMatch(/PATH=\/usr\/sbin.*EMPTY=no/s);
    expect(guest.pending.size).toBe(0);
    expect(guest.pid).not.toBe(pid);
  });

  it('is that of its spec alone where its root is a template', async () => {
    await using world = await open();
    const order = await runGuest(world, {
      ...container,
      command: ['/bin/sh', '-l'],
      env: { A: '1', B: '2' },
    });
    const guest = anyGuest(world);
    expect(guest.config).toMatchObject({ entrypoint: '/bin/sh -l', env: 'A=1\0B=2' });
    await world.backend.ensureInstance(
      { ...order, generation: 2 },
      { ...container, env: { B: '2' } },
      signal,
    );
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'its second generation' });
    expect(guest.config['env']).toBe('B=2');
    expect(guest.config['entrypoint']).toBeUndefined();
  });
});
