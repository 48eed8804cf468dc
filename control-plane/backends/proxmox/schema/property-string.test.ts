import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { recordedExchanges } from '../../../../test/fakes/proxmox/recordings.ts';
import { factsFor, methodFacts, subKeysOf, type ValueFacts, type ValuesFacts, valueFacts } from './facts.ts';
import { decodePropertyString, encodePropertyString, type PropertyObject } from './property-string.ts';

const keysOf = (format: string, version = '9.2'): ValuesFacts => {
  const keys = subKeysOf(factsFor(version), { format });
  if (keys === undefined) throw new Error(`no format ${format}`);
  return keys;
};

/** Every property string of every configuration that the cluster told, with its format's sub-keys. */
function recorded(version: '8.4.21' | '9.2.11'): { key: string; text: string; keys: ValuesFacts }[] {
  const facts = factsFor(version);
  return recordedExchanges(version).flatMap(({ request, response }) => {
    const kind = /^\/nodes\/[^/]+\/(lxc|qemu)\/\d+\/(?:snapshot\/[^/]+\/)?config/.exec(request.path)?.[1];
    const { data } = response?.status === 200 && kind !== undefined ? response.body : {};
    const { parameters } = methodFacts(facts, `PUT /nodes/{node}/${kind}/{vmid}/config`) ?? {
      parameters: {},
    };
    return Object.entries((request.method === 'GET' ? data : undefined) ?? {}).flatMap(([key, text]) => {
      const value = valueFacts(parameters, key);
      const keys = value === undefined ? undefined : subKeysOf(facts, value);
      return keys === undefined ? [] : [{ key, text: String(text), keys }];
    });
  });
}

describe.each(['8.4.21', '9.2.11'] as const)('property strings of Proxmox VE %s', (version) => {
  it('come back as they were, whatever the cluster told', () => {
    const all = recorded(version);
    expect(all.length).toBeGreaterThan(100);
    for (const { key, text, keys } of all) {
      const object = decodePropertyString(keys, text);
      expect({ key, text: encodePropertyString(keys, object) }).toEqual({ key, text });
      const names = Object.keys(object).filter((name) => keys[name] === undefined);
      expect({ key, text, names }).toEqual({ key, text, names: [] });
    }
  });
});

describe('reading', () => {
  it.each<[string, string, PropertyObject]>([
    [
      'qemu.net[n]',
      'virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1',
      { model: 'virtio', macaddr: 'BC:24:11:00:00:01', bridge: 'vmbr0', firewall: true },
    ],
    ['qemu.net[n]', 'virtio,tag=12,rate=1.5', { model: 'virtio', tag: 12, rate: 1.5 }],
    [
      'lxc.rootfs',
      'local:101/vm-101-disk-0.raw,size=1G',
      { volume: 'local:101/vm-101-disk-0.raw', size: '1G' },
    ],
    ['qemu.ide[n]', 'volume=local:iso/a.iso,media=cdrom', { file: 'local:iso/a.iso', media: 'cdrom' }],
    ['pve-startup-order', 'order=1,up=07', { order: 1, up: '07' }],
    ['lxc.features', 'nesting=1,future=yes=no', { nesting: true, future: 'yes=no' }],
    ['lxc.features', '', {}],
  ])('%s of %j', (format, text, object) =>
    expect(decodePropertyString(keysOf(format), text)).toEqual(object),
  );

  it.each([
    ['lxc.net[n]', 'eth0,bridge=vmbr0'],
    ['lxc.net[n]', 'name=eth0,name=eth1'],
    ['qemu.net[n]', 'virtio,model=e1000'],
    ['qemu.net[n]', 'virtio=BC:24:11:00:00:01,e1000=BC:24:11:00:00:02'],
    ['lxc.rootfs', '=x'],
  ])('%s refuses %j', (format, text) => {
    expect(() => decodePropertyString(keysOf(format), text)).toThrow(
      expect.objectContaining({ kind: 'invalid-argument', reason: 'property-string' }),
    );
  });
});

describe('writing', () => {
  it.each<[string, PropertyObject, string]>([
    [
      'lxc.net[n]',
      { name: 'eth0', bridge: 'vmbr0', hwaddr: undefined, firewall: true },
      'name=eth0,bridge=vmbr0,firewall=1',
    ],
    ['lxc.rootfs', { size: '1G', volume: 'local:1' }, 'local:1,size=1G'],
    ['lxc.mp[n]', { mp: '/data', volume: 'local:a=b' }, 'volume=local:a=b,mp=/data'],
    ['qemu.net[n]', { bridge: 'vmbr0', model: 'virtio' }, 'virtio,bridge=vmbr0'],
    [
      'qemu.net[n]',
      { bridge: 'vmbr0', model: 'virtio', macaddr: 'BC:24:11:00:00:01' },
      'virtio=BC:24:11:00:00:01,bridge=vmbr0',
    ],
    ['qemu.net[n]', { virtio: 'BC:24:11:00:00:01' }, 'virtio=BC:24:11:00:00:01'],
    ['pve-qm-boot', { order: ['scsi0', 'net0'] }, 'order=scsi0;net0'],
    ['pve-vm-cpu-conf', { cputype: 'host', hidden: false }, 'host,hidden=0'],
  ])('%s of %j', (format, object, text) => expect(encodePropertyString(keysOf(format), object)).toBe(text));

  it.each<[string, PropertyObject, string]>([
    ['lxc.net[n]', { bridge: 'vmbr0' }, 'name'],
    ['lxc.net[n]', { name: 'eth0', tag: 5000 }, 'tag'],
    ['lxc.net[n]', { name: 'eth0', tag: 1.5 }, 'tag'],
    ['lxc.net[n]', { name: 'eth0', type: 'tap' }, 'type'],
    ['lxc.net[n]', { name: 'eth 0' }, 'name'],
    ['lxc.net[n]', { name: ['eth0'] }, 'name'],
    ['lxc.net[n]', { name: 'eth0', firewall: 'yes' }, 'firewall'],
    ['pve-qm-boot', { order: ['scsi0;net0'] }, 'order'],
    ['pve-qm-ipconfig', { gw: '10.0.0.1' }, 'ip'],
    ['qemu.net[n]', { model: 'virtio', virtio: 'BC:24:11:00:00:01' }, 'model'],
    ['lxc.features', { 'a=b': '1' }, 'a=b'],
    ['lxc.features', { '': '1' }, ''],
  ])('%s refuses %j', (format, object, field) => {
    expect(() => encodePropertyString(keysOf(format), object)).toThrow(
      expect.objectContaining({ kind: 'invalid-argument', faults: [expect.objectContaining({ field })] }),
    );
  });
});

const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom(
      ',',
      '=',
      ';',
      ' ',
      '\n',
      '\r',
      '\0',
      '\\',
      '"',
      'a',
      'mp',
      'ro=1',
      ',ro=1',
      '\u2028',
    ),
  }),
);

/** Some value that fits. */
function sample({ type, enum: words, minimum = 0, maximum = Infinity }: ValueFacts, number: number) {
  if (type === 'boolean') return number % 2 === 1;
  if (words !== undefined) return words[number % words.length];
  return type === 'string' ? `t${number}` : Math.min(Math.max(number, minimum), maximum);
}

describe('whatever the values are', () => {
  it('no value begins another sub-key or another line', () => {
    const keys = keysOf('lxc.mp[n]');
    fc.assert(
      fc.property(hostile, hostile, (volume, mp) => {
        let text: string;
        try {
          text = encodePropertyString(keys, { volume, mp, ro: false });
        } catch (error) {
          expect(error).toMatchObject({ kind: 'invalid-argument' });
          return;
        }
        expect(text).not.toMatch(/[\n\r\0]/);
        expect(decodePropertyString(keys, text)).toEqual({ volume, mp, ro: false });
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['8.4', '9.2'])('what was written is read again, in every format of %s', (version) => {
    const word = fc.stringMatching(/^[a-z0-9][a-z0-9:/._-]{0,12}$/);
    const formats = Object.values(factsFor(version).formats).filter(
      (keys) => !Object.values(keys).some((facts) => facts.pattern !== undefined && facts.optional !== true),
    );
    expect(formats.length).toBeGreaterThan(40);
    fc.assert(
      fc.property(
        fc.constantFrom(...formats),
        fc.dictionary(fc.stringMatching(/^[a-z]{3,6}$/), word),
        fc.infiniteStream(fc.nat(4094)),
        (keys, others, numbers) => {
          const given = Object.entries(keys)
            .filter(([, facts]) => facts.alias === undefined && facts.pattern === undefined)
            .map(([name, facts]) => [name, sample(facts, Number(numbers.next().value))] as const);
          const unknown = Object.entries(others).filter(([name]) => keys[name] === undefined);
          const object = Object.fromEntries([...unknown, ...given]);
          expect(decodePropertyString(keys, encodePropertyString(keys, object))).toEqual(object);
        },
      ),
    );
  });

  it('a text that is read is written as what means the same', () => {
    const keys = keysOf('qemu.net[n]');
    const part = fc.tuple(
      fc.constantFrom('virtio', 'model', 'macaddr', 'bridge', 'tag', 'x'),
      fc.constantFrom('1', '01', 'vmbr0', 'e1000'),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
        const text = parts.map(([name, value]) => `${name}=${value}`).join(',');
        let object: PropertyObject;
        try {
          object = decodePropertyString(keys, text);
          encodePropertyString(keys, object);
        } catch {
          return;
        }
        expect(decodePropertyString(keys, encodePropertyString(keys, object))).toEqual(object);
      }),
    );
  });
});
