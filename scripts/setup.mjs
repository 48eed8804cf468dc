// Installs what Drover's own commands need. Runs on the Node.js that is there (20 or newer), before npm ci, so
// it imports nothing but Node's own.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
/** Debian package → what Drover does with it. */
const packages = {
  crun: 'runs OCI containers',
  conmon: 'keeps their output and exit codes while no agent runs',
  lxc: 'runs system containers',
  skopeo: 'fetches images from registries',
  umoci: 'unpacks images',
  'xz-utils': 'unpacks root file systems that come as tar.xz',
  'golang-github-containers-common': 'the default seccomp profile',
  'busybox-static': 'what the small image is made of',
  'docker-registry': 'a registry on loopback for that image',
  iproute2: 'bridges and interfaces of guests; network namespaces for the simulated hosts',
  'containernetworking-plugins': 'connects guests to bridges and publishes their ports',
  iptables: 'what the plugin for published ports works with',
  nftables: "lets guests out behind the node's address",
  'zfs-fuse': 'ZFS pools in files, for the simulated hosts and the tests of volumes',
};

function say(line) {
  process.stderr.write(`${line}\n`);
}

function fail(line, next) {
  say(`error: ${line}\n  next: ${next}`);
  process.exit(1);
}

function isInstalled(name) {
  const { status, stdout } = spawnSync('dpkg-query', ['-W', '-f=${Status}', name], { encoding: 'utf8' });
  return status === 0 && stdout.endsWith('install ok installed');
}

function apt(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', args, { stdio: ['ignore', 2, 2], env }).status === 0;
}

/** Keeps Debian from starting the registry and the ZFS daemon as services while they are installed. */
function withoutServices(work) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return work();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return work();
  } finally {
    rmSync(policy, { force: true });
  }
}

function installPackages() {
  // Both bring /usr/sbin/zfs: a host that has the real one keeps it.
  const unwanted = isInstalled('zfsutils-linux') ? 'zfs-fuse' : '';
  const missing = Object.keys(packages).filter((name) => name !== unwanted && !isInstalled(name));
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid() !== 0 || spawnSync('apt-get', ['--version']).status !== 0) {
    fail(`these Debian packages are missing: ${missing.join(' ')}`, `as root: apt-get update && ${command}`);
  }
  say('Installing Debian packages (they stay installed):');
  for (const name of missing) say(`  ${name.padEnd(34)}${packages[name]}`);
  const args = command.split(' ').slice(1);
  // A list that is still good saves the update; a stale one names versions that are gone.
  const done = withoutServices(() => apt('-qq', ...args) || (apt('-qq', 'update') && apt('-qq', ...args)));
  const absent = missing.filter((name) => !isInstalled(name));
  if (!done || absent.length > 0)
    fail(`apt-get did not install: ${absent.join(' ')}`, `apt-get update && ${command}`);
}

function installModules() {
  const lock = readFileSync(path.join(root, 'package-lock.json'));
  const digest = createHash('sha256').update(lock).digest('hex');
  const stamp = path.join(root, 'node_modules/.drover-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return;
  say('Installing Node.js 24 and the libraries into node_modules (npm ci) …');
  const args = ['ci', '--no-fund', '--no-audit', '--loglevel=error'];
  const { status } = spawnSync('npm', args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) fail('npm ci failed', 'read its words above, then run the command again');
  writeFileSync(stamp, digest);
}

if (process.platform !== 'linux')
  fail(`Drover's agents run on Linux, this is ${process.platform}`, 'use a Debian 12 host');
installPackages();
installModules();
