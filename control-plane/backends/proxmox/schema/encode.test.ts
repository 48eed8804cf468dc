import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkParameters } from '../../../../test/fakes/proxmox/check-parameters.ts';
import { matchPath } from '../../../../test/fakes/proxmox/match-path.ts';
import { recordedExchanges } from '../../../../test/fakes/proxmox/recordings.ts';
import { type EncodedCall, encodeCall } from './encode.ts';
import { factsFor } from './facts.ts';
import type { MethodName, ParametersOf } from './methods.ts';

const newest = factsFor('9.2.11');
const oldest = factsFor('8.4.21');

const faultsOf = (act: () => unknown): string[] => {
  try {
    act();
  } catch (error) {
    expect(error).toMatchObject({ kind: 'invalid-argument', subject: { acted: 'no' } });
    return (error as { faults: { field: string }[] }).faults.map(({ field }) => field);
  }
  return [];
};

const container: ParametersOf<'POST /nodes/{node}/lxc'> = {
  node: 'pve1',
  vmid: 101,
  ostemplate: 'local:vztmpl/alpine.tar.gz',
};

describe('encoding a call', () => {
  it('fills the path and gives the rest as pairs', () => {
    const call = encodeCall(newest, 'POST /nodes/{node}/lxc', {
      ...container,
      unprivileged: true,
      onboot: false,
      memory: 64,
      cpulimit: 1.5,
      hostname: undefined,
      rootfs: { volume: 'local:1' },
      net0: { name: 'eth0', bridge: 'vmbr0', firewall: true },
      mp3: 'local:2,mp=/data',
      startup: { order: 2, up: 10 },
      description: 'two\nlines, a = b & c',
      env: 'A=1\0B=2',
    });
    expect(call).toEqual({
      path: '/nodes/pve1/lxc',
      pairs: [
        ['vmid', '101'],
        ['ostemplate', 'local:vztmpl/alpine.tar.gz'],
        ['unprivileged', '1'],
        ['onboot', '0'],
        ['memory', '64'],
        ['cpulimit', '1.5'],
        ['rootfs', 'local:1'],
        ['net0', 'name=eth0,bridge=vmbr0,firewall=1'],
        ['mp3', 'local:2,mp=/data'],
        ['startup', '2,up=10'],
        ['description', 'two\nlines, a = b & c'],
        ['env', 'A=1\0B=2'],
      ],
    });
  });

  it('percent-encodes what stands in the path', () => {
    const upid = 'UPID:pve1:00001375:00095C4F:6B04004C:vzdump:7300:root@pam!rig:';
    expect(encodeCall(newest, 'GET /nodes/{node}/tasks/{upid}/status', { node: 'pve1', upid }).path).toBe(
      `/nodes/pve1/tasks/${encodeURIComponent(upid)}/status`,
    );
    const volume = { node: 'pve1', storage: 'local', volume: 'local:vztmpl/a b.tar.gz' };
    expect(encodeCall(newest, 'DELETE /nodes/{node}/storage/{storage}/content/{volume}', volume).path).toBe(
      '/nodes/pve1/storage/local/content/local%3Avztmpl%2Fa%20b.tar.gz',
    );
  });

  it('gives one pair for each part of an array, and takes the default sub-key alone', () => {
    const guest = { node: 'pve1', vmid: 101 };
    expect(
      encodeCall(newest, 'POST /nodes/{node}/qemu/{vmid}/agent/exec', { ...guest, command: ['ls', '-l'] })
        .pairs,
    ).toEqual([
      ['command', 'ls'],
      ['command', '-l'],
    ]);
    expect(
      encodeCall(newest, 'PUT /nodes/{node}/qemu/{vmid}/config', { ...guest, memory: 512, agent: true })
        .pairs,
    ).toEqual([
      ['memory', '512'],
      ['agent', '1'],
    ]);
  });

  it('url-encodes keys once', () => {
    const sshkeys = (value: string) =>
      encodeCall(newest, 'PUT /nodes/{node}/qemu/{vmid}/config', { node: 'pve1', vmid: 101, sshkeys: value })
        .pairs;
    const encoded = [['sshkeys', 'ssh-ed25519%20AAAA%2BB%20user%40host']];
    expect(sshkeys('ssh-ed25519 AAAA+B user@host')).toEqual(encoded);
    expect(sshkeys(encoded[0]?.[1] ?? '')).toEqual(encoded);
  });

  it('names every fault at once', () => {
    const wrong = {
      vmid: 99,
      memory: 'lots',
      cores: 0,
      onboot: 'yes',
      ostype: 'beos',
      net0: { bridge: 'vmbr0', tag: 0 },
      net1: 'name=eth1,name=eth2',
      rootfs: { volume: 'local:1,mp=/etc' },
      password: 'abc',
      hostname: 'a\nb',
      foo: 1,
      unique: true,
      mp0: ['x'],
    };
    expect(faultsOf(() => encodeCall(newest, 'POST /nodes/{node}/lxc', wrong)).sort()).toEqual([
      'cores',
      'foo',
      'hostname',
      'memory',
      'mp0',
      'net0.name',
      'net0.tag',
      'net1',
      'node',
      'onboot',
      'ostemplate',
      'ostype',
      'password',
      'restore',
      'rootfs.volume',
      'vmid',
    ]);
  });

  it('knows what a version does not have', () => {
    const entrypoint = { ...container, entrypoint: '/bin/sh' };
    expect(encodeCall(newest, 'POST /nodes/{node}/lxc', entrypoint).pairs).toContainEqual([
      'entrypoint',
      '/bin/sh',
    ]);
    expect(faultsOf(() => encodeCall(oldest, 'POST /nodes/{node}/lxc', entrypoint))).toEqual(['entrypoint']);
    expect(() => encodeCall(oldest, 'GET /cluster/ha/rules', {})).toThrow(
      expect.objectContaining({ kind: 'unimplemented', reason: 'version' }),
    );
  });

  it('asks of a rule what its type needs', () => {
    const rule = { rule: 'r1', resources: 'ct:101' };
    const encode = (more: object) =>
      faultsOf(() => encodeCall(newest, 'POST /cluster/ha/rules', { ...rule, ...more }));
    expect(encode({ type: 'node-affinity', nodes: 'pve1' })).toEqual([]);
    expect(encode({ type: 'node-affinity' })).toEqual(['nodes']);
    expect(encode({ type: 'resource-affinity', affinity: 'negative' })).toEqual([]);
    expect(encode({})).toContain('type');
  });

  it.each(['', '.', '..', 'a/b', 'a\0b', '\ud800', '\n'])('lets %j lead nowhere', (node) => {
    expect(faultsOf(() => encodeCall(newest, 'GET /nodes/{node}/status', { node }))).toContain('node');
    const volume = node === 'a/b' ? '..' : node;
    const content = { node: 'pve1', storage: 'local', volume };
    expect(
      faultsOf(() => encodeCall(newest, 'GET /nodes/{node}/storage/{storage}/content/{volume}', content)),
    ).toContain('volume');
  });

  it('keeps names of the language out', () => {
    for (const name of ['__proto__', 'constructor', 'toString'])
      expect(faultsOf(() => encodeCall(newest, 'GET /version', Object.fromEntries([[name, 'x']])))).toEqual([
        name,
      ]);
  });
});

describe.each(['8.4.21', '9.2.11'] as const)('what Proxmox VE %s took', (version) => {
  const facts = factsFor(version);
  const plain = (value: unknown): unknown => (value === null ? undefined : value);

  it('is encoded as it was sent', () => {
    let count = 0;
    const differ: unknown[] = [];
    for (const { flow, request, response } of recordedExchanges(version)) {
      const found = matchPath(facts, request.method, request.path.split('?')[0] ?? '');
      const isPlain = request.rawBody === undefined && request.encoding !== 'multipart';
      if (response?.status !== 200 || found === undefined || !isPlain || request.path.includes('?')) continue;
      const given = { ...request.params, ...found.parameters };
      const { path, pairs } = encodeCall(facts, found.name as MethodName, given);
      const wanted = Object.entries(request.params ?? {}).filter(([name]) => !(name in found.parameters));
      const sent = wanted.map(([name, value]) => [name, typeof value === 'boolean' ? '1' : String(value)]);
      const isSame = isDeepStrictEqual(pairs, sent);
      if (!isSame || matchPath(facts, request.method, path)?.name !== found.name)
        differ.push({ flow, pairs, sent, path, was: request.path });
      count += 1;
    }
    expect(differ).toEqual([]);
    expect(count).toBeGreaterThan(800);
  });

  it('can be given back as the cluster told it', () => {
    let count = 0;
    for (const { request, response } of recordedExchanges(version)) {
      const found = matchPath(facts, request.method, request.path);
      const kind = /^GET \/nodes\/\{node\}\/(lxc|qemu)\/\{vmid\}\/config$/.exec(found?.name ?? '')?.[1];
      if (kind === undefined || response?.status !== 200) continue;
      const method = `PUT /nodes/{node}/${kind as 'lxc' | 'qemu'}/{vmid}/config` as const;
      const told = Object.entries(response.body.data ?? {}).filter(
        // The kernel's own settings, what a virtual machine was made by, and a snapshot's: no call takes them.
        ([name]) => !['lxc', 'meta', 'parent', 'snaptime', 'snapstate', 'runningmachine'].includes(name),
      );
      const given = {
        ...Object.fromEntries(told.map(([name, value]) => [name, plain(value)])),
        ...found?.parameters,
      };
      const sent = Object.fromEntries(encodeCall(facts, method, given).pairs);
      expect(sent).toEqual(Object.fromEntries(told.map(([name, value]) => [name, String(value)])));
      count += 1;
    }
    expect(count).toBeGreaterThan(40);
  });
});

const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      ',',
      '=',
      '&',
      '%',
      '/',
      '.',
      '\n',
      '\0',
      ' ',
      'a',
      ';',
      '+',
      '?',
      '#',
      'é',
      '\ud800',
    ),
  }),
);

describe('whatever the text is', () => {
  it('means to the server what was given, or is refused before it is sent', () => {
    const name = 'PUT /nodes/{node}/lxc/{vmid}/config';
    fc.assert(
      fc.property(hostile, hostile, hostile, hostile, (description, tags, volume, bridge) => {
        const given = {
          node: 'pve1',
          vmid: 101,
          description,
          tags,
          mp0: { volume, mp: '/data' },
          net0: { name: 'eth0', bridge },
        };
        let call: EncodedCall;
        try {
          call = encodeCall(newest, name, given);
        } catch (error) {
          expect(error).toMatchObject({ kind: 'invalid-argument' });
          return;
        }
        const sent = Object.fromEntries(call.pairs);
        expect(Object.keys(sent).sort()).toEqual(['description', 'mp0', 'net0', 'tags']);
        expect(sent).toMatchObject({ description, tags, net0: `name=eth0,bridge=${bridge}` });
        const path = matchPath(newest, 'PUT', call.path);
        expect(path?.parameters).toEqual({ node: 'pve1', vmid: '101' });
        const errors = checkParameters(newest, 'PUT', path?.template ?? '', { ...sent, ...path?.parameters });
        // The server may still refuse a name's form; never the structure.
        for (const text of Object.values(errors ?? {}))
          expect(text).not.toMatch(/key|not defined|type check/);
      }),
      { numRuns: 1000 },
    );
  });

  it('one segment of the path stays one', () => {
    fc.assert(
      fc.property(hostile, (upid) => {
        try {
          const { path } = encodeCall(newest, 'GET /nodes/{node}/tasks/{upid}/log', { node: 'pve1', upid });
          expect(path.split('/')).toHaveLength(6);
          expect(new URL(`https://x${path}`).pathname).toBe(path);
        } catch (error) {
          expect(error).toMatchObject({ kind: 'invalid-argument' });
        }
      }),
    );
  });
});
