import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DroverError } from '#shared/errors.ts';
import { dataOf } from './answers.ts';
import { endOf } from '../tasks/task-end.ts';
import { parseUpid } from '../tasks/upid.ts';

interface Exchange {
  readonly request: { readonly method: string; readonly path: string };
  readonly response: {
    readonly status: number;
    readonly reason: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: unknown;
  } | null;
}

const root = path.resolve(import.meta.dirname, '../../../../test/golden');
const flows = globSync('proxmox-*/*.json', { cwd: root })
  .filter((file) => !file.endsWith('index.json'))
  .sort();
const exchangesOf = (flow: string): readonly Exchange[] =>
  (JSON.parse(readFileSync(path.join(root, flow), 'utf8')) as { exchanges: Exchange[] }).exchanges;

/** What is known to be said by failures that are nobody's to understand: their log is for people. */
const unknownWords = [
  /throttle node without file child node name/,
  /expected, at character offset/,
  /answers 506/,
  /command 'set -o pipefail && genisoimage/,
];

function errorOf(work: () => unknown): DroverError | undefined {
  try {
    work();
  } catch (error) {
    return error as DroverError;
  }
  return undefined;
}

function expectForPeople(error: DroverError): void {
  const { kind, reason, message } = error;
  expect(message).not.toMatch(/\bnull\b|perl5|\.pm\b|line \d+\.|\n|undefined/);
  expect(message.length).toBeGreaterThan(10);
  expect(message.length).toBeLessThan(1300);
  expect(reason).not.toBe('');
  const isUnknown = kind === 'internal' && reason !== 'job' && reason !== 'command';
  const isListed = unknownWords.some((words) => words.test(message));
  expect(isUnknown && !isListed ? message : '').toBe('');
}

describe.each(flows)('%s', (flow) => {
  const subject = { cluster: 'rig', method: 'POST /x', endpoint: '10.0.0.1:8006' };
  const exchanges = exchangesOf(flow);

  it('has answers that are data, or are understood', () => {
    for (const { response } of exchanges) {
      if (response === null) continue;
      const { status, reason, headers, body } = response;
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const answer = { status, reason, contentType: headers['content-type'] ?? '', body: Buffer.from(text) };
      // Other formats than JSON were asked for to see what comes.
      if (status === 200 && typeof body === 'string') continue;
      const error = errorOf(() => dataOf(answer, subject));
      if (status === 200) expect(error).toBeUndefined();
      else if (error === undefined) expect.fail(`${status} ${reason} was taken for good`);
      else expectForPeople(error);
    }
  });

  it('has tasks whose ends are understood', () => {
    for (const [upid, exitStatus] of endsIn(exchanges)) {
      const error = errorOf(() => endOf(parseUpid(upid), exitStatus, [], 'rig'));
      if (exitStatus === 'OK') expect(error).toBeUndefined();
      else if (error === undefined) expect.fail(`${exitStatus} was taken for good`);
      else expectForPeople(error);
    }
  });
});

/** Of tasks' own status, and of lists of tasks, in which an end is the status. */
function endsIn(exchanges: readonly Exchange[]): readonly (readonly [upid: string, exitStatus: string])[] {
  return exchanges.flatMap(({ response }) => {
    const data = (response?.body as { data?: unknown } | undefined)?.data;
    const rows = (Array.isArray(data) ? data : [data]) as (Readonly<Record<string, unknown>> | null)[];
    return rows.flatMap((row) => {
      const end = row?.['exitstatus'] ?? (row?.['endtime'] === undefined ? undefined : row?.['status']);
      const upid = row?.['upid'];
      return typeof upid === 'string' && typeof end === 'string' ? [[upid, end] as const] : [];
    });
  });
}

it('has recordings of both versions', () => {
  expect(new Set(flows.map((flow) => path.dirname(flow)))).toEqual(
    new Set(['proxmox-8.4.21', 'proxmox-9.2.11']),
  );
  expect(flows.length).toBeGreaterThan(40);
});
