import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { removeGroups, visitGroups } from './cgroup-tree.ts';

/** Directories are to these functions what groups are. `depth` of them in one another, each with a long name. */
const nest = 'i=0; while [ $i -lt "$2" ]; do mkdir "$1" && cd -P "$1" || exit 1; i=$((i+1)); done';

function withTree<T>(depth: number, use: (top: string) => T): T {
  const top = mkdtempSync(path.join(os.tmpdir(), 'drover-groups-'));
  try {
    execFileSync('sh', ['-c', nest, 'sh', 'a'.repeat(250), `${depth}`], { cwd: top });
    return use(top);
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

describe('groups in groups', () => {
  it.each([0, 1, 7, 8, 9, 17, 100])('are all visited, the outer ones first, %i deep', (depth) => {
    const before = descriptors();
    withTree(depth, (top) => {
      const seen: number[] = [];
      visitGroups(top, (place) => void seen.push(readdirSync(place).length));
      expect(seen).toEqual([...Array.from({ length: depth }, () => 1), 0]);
      expect(removeGroups(top)).toBe('gone');
      expect(existsSync(top)).toBe(false);
    });
    expect(descriptors()).toBe(before);
  });

  it('are left alone where they are too many, and go in parts', () => {
    withTree(0, (top) => {
      execFileSync('sh', ['-c', 'seq 2100 | xargs mkdir; mkdir 7/a 7/b'], { cwd: top });
      let seen = 0;
      const count = (): void => void (seen += 1);
      expect(visitGroups(top, count, 2102)).toBe(false);
      expect(seen).toBeLessThan(2103);
      seen = 0;
      expect(visitGroups(top, count, 2103)).toBe(true);
      expect(seen).toBe(2103);
      seen = 0;
      expect([visitGroups(top, count, 10), seen]).toEqual([false, 0]);
      const answers = [];
      for (let left = 'more'; left === 'more'; answers.push(left)) left = removeGroups(top);
      expect(answers.slice(-1)).toEqual(['gone']);
      expect(answers.length).toBeGreaterThan(1);
    });
  });

  it('that are not there are gone', () => {
    withTree(0, (top) => {
      const none = path.join(top, 'none');
      expect(removeGroups(none)).toBe('gone');
      visitGroups(none, (place) => expect(place).toBe(none));
    });
  });

  it('stay where one has something in it, and say so', () => {
    withTree(2, (top) => {
      mkdirSync(path.join(top, 'b/c'), { recursive: true });
      execFileSync('touch', [path.join(top, 'file')]);
      expect(removeGroups(top)).toBe('ENOTEMPTY');
      expect(readdirSync(top)).toEqual(['file']);
    });
  });
});
