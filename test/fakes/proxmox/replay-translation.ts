/** What a recorded name is here: secrets, tickets, UPIDs, digests, addresses, learned from the answers. */
import type { ProxmoxServer } from '../proxmox-server.ts';
import type { RecordedRequest } from './recording.ts';
import { replayedDigest } from './replay-files.ts';

export interface Translation {
  text(recorded: string): string;
  /** As sent: percent-encoded where it was. */
  path(recorded: string): string;
  headers(request: RecordedRequest): Record<string, string>;
  /** Takes the names of our answer for those of the recorded one, where they stand in the same place. */
  learn(recorded: unknown, found: unknown): void;
  /** Without the rows that tell of what was before the flow. */
  trim(body: unknown): unknown;
}

/** Archives are named after the second in which they were made. */
const archiveName = /vzdump-(?:lxc|qemu)-\d+-\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d/;

const isName = (text: string): boolean =>
  text.startsWith('UPID:') || /^<[a-z0-9-]+>$/.test(text) || /^[0-9a-f]{40}$/.test(text);

export function createTranslation(server: ProxmoxServer): Translation {
  const names = new Map<string, string>();
  const { access } = server.world;
  const secretOf = (user: string, token: string): string =>
    access.users.get(user)?.tokens.get(token)?.secret ?? '00000000-0000-4000-8000-000000000001';
  names.set('<root-password>', server.password);

  function text(recorded: string): string {
    if (/^[0-9a-f]{64}$/.test(recorded)) return replayedDigest(recorded) ?? recorded;
    let result = names.get(recorded) ?? recorded;
    for (const [theirs, ours] of names) if (result.includes(theirs)) result = result.replaceAll(theirs, ours);
    return result;
  }
  /** `PVEAPIToken=alice@pve!t1=<alice-token-secret>`: the secret is that of the token that is named. */
  function authorization(recorded: string): string {
    const match = /^PVEAPIToken=([^!=]+)!([^=]+)=<.*>$/.exec(recorded);
    if (match !== null)
      return `PVEAPIToken=${match[1]}!${match[2]}=${secretOf(match[1] ?? '', match[2] ?? '')}`;
    return recorded.replace('<token-secret>', server.secret);
  }
  return {
    text,
    path: (recorded) =>
      recorded
        .replace(/UPID[^/]*/g, (upid) => {
          const name = names.get(decodeURIComponent(upid));
          if (name === undefined) return upid;
          return upid.includes('%') ? encodeURIComponent(name) : name;
        })
        .replace(new RegExp(archiveName, 'g'), (archive) => names.get(archive) ?? archive),
    headers(request) {
      const headers: Record<string, string> = {};
      for (const [name, value] of Object.entries(request.headers)) {
        headers[name] = name === 'authorization' ? authorization(value) : text(value);
      }
      const { cookie } = headers;
      if (cookie !== undefined)
        headers['cookie'] = cookie.replace(/=(.*)$/, (_, ticket: string) => `=${encodeURIComponent(ticket)}`);
      return headers;
    },
    learn(recorded, found) {
      if (typeof recorded === 'string' && typeof found === 'string') {
        if (isName(recorded) && recorded !== found) names.set(recorded, found);
        const [theirs, ours] = [archiveName.exec(recorded)?.[0], archiveName.exec(found)?.[0]];
        if (theirs !== undefined && ours !== undefined) names.set(theirs, ours);
        return;
      }
      if (typeof recorded !== 'object' || recorded === null || typeof found !== 'object' || found === null)
        return;
      if (Array.isArray(recorded)) {
        this.learn(archiveLine(recorded), archiveLine(found));
        return;
      }
      for (const [key, value] of Object.entries(recorded)) {
        if (key !== 'ssl_fingerprint') this.learn(value, (found as Record<string, unknown>)[key]);
      }
    },
    trim: (body) => trimmed(body, names),
  };
}

/** The line of a log that tells which archive is made. */
const archiveLine = (rows: unknown): unknown =>
  (Array.isArray(rows) ? (rows as readonly { readonly t?: string }[]) : []).find((row) =>
    row.t?.includes('creating vzdump archive'),
  )?.t;

/** Tasks that ran before the flow began are not in the fake; how many there were is not compared. */
function trimmed(body: unknown, names: ReadonlyMap<string, string>): unknown {
  const { data } = (body ?? {}) as { data?: unknown };
  if (!Array.isArray(data)) return body;
  const ours = new Set(names.values());
  const isTask = (row: unknown): boolean => typeof row === 'object' && row !== null && 'upid' in row;
  const isOld = (row: unknown): boolean => {
    const upid = (row as { upid?: unknown } | null)?.upid;
    return typeof upid === 'string' && !names.has(upid) && !ours.has(upid);
  };
  if (!data.some(isTask) && data.length > 0) return body;
  const { total: _total, ...rest } = body as { total?: unknown };
  return { ...rest, data: data.filter((row) => !isOld(row)) };
}
