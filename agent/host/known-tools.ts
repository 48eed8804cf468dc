/** The Debian package of each tool. */
export const packageOfTool: Readonly<Record<string, string>> = {
  crun: 'crun',
  conmon: 'conmon',
  'lxc-start': 'lxc',
  nsenter: 'util-linux',
  perl: 'perl-base',
  skopeo: 'skopeo',
  umoci: 'umoci',
  mount: 'mount',
  umount: 'mount',
  tar: 'tar',
  xz: 'xz-utils',
  zfs: 'zfsutils-linux (or zfs-fuse)',
  zpool: 'zfsutils-linux (or zfs-fuse)',
  ip: 'iproute2',
  nft: 'nftables',
  'iptables-save': 'iptables',
  'iptables-restore': 'iptables',
  'ip6tables-save': 'iptables',
  'ip6tables-restore': 'iptables',
  bridge: 'containernetworking-plugins',
  loopback: 'containernetworking-plugins',
  portmap: 'containernetworking-plugins',
  firewall: 'containernetworking-plugins',
};

/** How many of one tool may run at once; 8 for those that are not named. */
export const gateOfTool: Readonly<Record<string, number>> = {
  crun: 8,
  conmon: 8,
  'lxc-start': 16,
  perl: 64,
  skopeo: 4,
  umoci: 2,
  zfs: 16,
  // Both look for their chains and then make what is missing: two at once would both make it.
  portmap: 1,
  firewall: 1,
};
