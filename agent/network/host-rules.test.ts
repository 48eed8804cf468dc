import { describe, expect, it } from 'vitest';
import { attachmentOf } from '../../test/conformance/guest-network.ts';
import { idleChains, masqueradeScript, publishedBy } from './host-rules.ts';
import { parseListeners } from './taken-ports.ts';

const standing = [
  '*nat',
  ':POSTROUTING ACCEPT [0:0]',
  ':CNI-HOSTPORT-DNAT - [0:0]',
  ':CNI-HOSTPORT-MASQ - [0:0]',
  ':CNI-HOSTPORT-SETMARK - [0:0]',
  '-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
  '-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
  '-A POSTROUTING -s 10.1.2.0/24 -j MASQUERADE',
  '-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE',
  '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
  'COMMIT',
];
const id = '01980000-0000-7000-8000-00000000abcd';
const published = `-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"drover-1\\" id: \\"${id}\\"" -j CNI-DN-1`;

describe('rules of the host', () => {
  it('undoes the shared chains of a plugin, and nothing besides', () => {
    expect(idleChains(standing, 'portmap')).toEqual([
      '-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
      '-D POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
      '-D CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE',
      '-D CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
      '-X CNI-HOSTPORT-DNAT',
      '-X CNI-HOSTPORT-SETMARK',
      '-X CNI-HOSTPORT-MASQ',
    ]);
  });

  it('leaves them while a port of anybody or a rule of somebody is in them', () => {
    expect(idleChains([...standing, published], 'portmap')).toEqual([]);
    expect(idleChains([...standing, '-A CNI-HOSTPORT-MASQ -j ACCEPT'], 'portmap')).toEqual([]);
    expect(idleChains(['*nat', 'COMMIT'], 'portmap')).toEqual([]);
  });

  it('tells whose ports are published under our name', () => {
    expect(publishedBy([...standing, published, published], 'drover-1')).toEqual([id]);
    expect(publishedBy([published], 'drover-2')).toEqual([]);
    expect(publishedBy([published.replace(id, '../evil')], 'drover-1')).toEqual([]);
  });

  it('makes one rule for each masqueraded subnet, and no table without one', () => {
    const dual = attachmentOf({ addresses: ['10.77.0.5/24', 'fd77::5/64'], masquerade: true });
    const other = { ...dual, addresses: ['10.77.0.6/24'] };
    const script = masqueradeScript('drover_1', [dual, other, attachmentOf({ bridge: 'vmbr0' })]);
    expect(script.split('\n').filter((line) => line.includes('masquerade'))).toEqual([
      '    ip saddr 10.77.0.0/24 ip daddr != { 10.77.0.0/24, 224.0.0.0/4 } oifname != "drv-br0" masquerade',
      '    ip6 saddr fd77::/64 ip6 daddr != { fd77::/64, ff00::/8 } oifname != "drv-br0" masquerade',
    ]);
    expect(masqueradeScript('drover_1', [])).toBe('table inet drover_1\ndelete table inet drover_1\n');
  });
});

describe('the table of sockets', () => {
  const line = (local: string, state: string): string =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 4242 1 0`;

  it('shows who listens, in both families', () => {
    const table = [
      '  sl  local_address rem_address',
      line('0100007F:1F90', '0A'),
      line('0100007F:1F91', '01'),
    ];
    expect(parseListeners(table.join('\n'), 'tcp')).toEqual([
      { address: { family: 4, value: 0x7f000001n }, port: 8080, inode: '4242' },
    ]);
    const local = '000080FE00000000000000FF0100FE00:0035';
    expect(parseListeners(line(local, '07'), 'udp')).toEqual([
      { address: { family: 6, value: 0xfe80000000000000ff00000000fe0001n }, port: 53, inode: '4242' },
    ]);
  });
});
