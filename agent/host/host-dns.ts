import { readFile } from 'node:fs/promises';

const places = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/**
 * The host's own resolv.conf for a guest with interfaces of its own: servers on the host's loopback are out
 * of its reach. Where only such are named, those that systemd-resolved asks. Spawns nothing.
 */
export async function readHostDns(files: readonly string[] = places): Promise<string> {
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const lines = text.split('\n').filter((line) => /^(?:nameserver|search|options)\s/.test(line));
    const kept = lines.filter((line) => !/^nameserver\s+(?:127\.|::1\s*$)/.test(line));
    if (kept.some((line) => line.startsWith('nameserver'))) return `${kept.join('\n')}\n`;
  }
  return '';
}
