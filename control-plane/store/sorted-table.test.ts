import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deleteFrom, emptyTable, getFrom, putInto, rangeOf, type SortedTable } from './sorted-table.ts';

const key = fc.integer({ min: 0, max: 400 }).map((number) => `k${String(number).padStart(3, '0')}`);
const change = fc.record({ key, isDelete: fc.boolean(), value: fc.nat() });

describe('sorted table', () => {
  it('holds what a plain map holds, in order, whatever is put and deleted', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 1500, size: 'max' }), key, key, (changes, start, end) => {
        let table: SortedTable<number> = emptyTable;
        const plain = new Map<string, number>();
        for (const each of changes) {
          table = each.isDelete ? deleteFrom(table, each.key) : putInto(table, each.key, each.value);
          if (each.isDelete) plain.delete(each.key);
          else plain.set(each.key, each.value);
        }
        const sorted = [...plain].toSorted(([a], [b]) => (a < b ? -1 : 1));
        expect(rangeOf(table, '', '~')).toEqual(sorted.map(([, value]) => value));
        expect(rangeOf(table, start, end)).toEqual(
          sorted.filter(([each]) => each >= start && each < end).map(([, value]) => value),
        );
        expect(getFrom(table, start)).toBe(plain.get(start));
        expect(table.size).toBe(plain.size);
      }),
      { numRuns: 50 },
    );
  });

  it('leaves every earlier version as it was', () => {
    const first = putInto(emptyTable as SortedTable<number>, 'a', 1);
    const second = putInto(first, 'a', 2);
    const third = deleteFrom(second, 'a');
    expect([getFrom(first, 'a'), getFrom(second, 'a'), getFrom(third, 'a')]).toEqual([1, 2, undefined]);
  });
});
