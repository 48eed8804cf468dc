import { describe, expect, it } from 'vitest';
import type { Attachment } from '#shared/model.ts';
import { attachmentOf, portOf } from '../../test/conformance/guest-network.ts';
import {
  bridgeAddresses,
  bridgeConfig,
  firewallConfig,
  loopbackConfig,
  portmapConfig,
} from './cni-config.ts';
import { defaultGateways } from '../host/guest-interface.ts';

const name = 'drover-0a1b2c3d';
const netns = '/proc/4711/ns/net';
const dual = attachmentOf({
  addresses: ['10.77.0.5/24', 'fd77::5/64'],
  gateways: ['10.77.0.1', 'fd77::1'],
  routes: [{ destination: '192.168.9.0/24', via: '10.77.0.9' }],
});
const configured = [
  { interface: 'eth0', addresses: ['10.77.0.5/24', 'fd77::5/64'] },
  { interface: 'eth1', addresses: ['10.78.0.5/24'] },
];

function bridge(attachment: Attachment, hairpin = false): object {
  const defaults = defaultGateways([attachment], attachment);
  return bridgeConfig(name, attachment, { mtu: attachment.mtu || 1500, hairpin, defaults });
}

const cases: Readonly<Record<string, object>> = {
  'bridge-dual-stack': bridge(dual, true),
  'bridge-vlan': bridge(attachmentOf({ vlan: 30, mtu: 9000, managedBridge: false, bridge: 'vmbr0' })),
  'bridge-without-gateway': bridge(attachmentOf({ gateways: [] })),
  portmap: portmapConfig(name, configured, {
    ports: [portOf(8080), portOf(5353, { protocol: 'udp', guestPort: 53, hostAddress: 'fd00::1' })],
    netns,
  }),
  firewall: firewallConfig(name, configured, netns),
  loopback: loopbackConfig(name),
};

describe('what the plugins are told', () => {
  for (const [title, config] of Object.entries(cases)) {
    it(`is as recorded: ${title}`, async () => {
      const file = `../../test/golden/cni-0.4.0/${title}.json`;
      await expect(`${JSON.stringify(config, undefined, 2)}\n`).toMatchFileSnapshot(file);
    });
  }

  it('gives each family one default route, wherever its gateway is', () => {
    const first = attachmentOf({ gateways: ['10.77.0.1'] });
    const second = { ...dual, interface: 'eth1' };
    expect(defaultGateways([first, second], first)).toEqual(['10.77.0.1']);
    expect(defaultGateways([first, second], second)).toEqual(['fd77::1']);
  });

  it('puts on a managed bridge the gateways that lie in a subnet of the guest', () => {
    expect(bridgeAddresses(dual)).toEqual(['10.77.0.1/24', 'fd77::1/64']);
    expect(bridgeAddresses(attachmentOf({ gateways: ['10.99.0.1'] }))).toEqual([]);
  });
});
