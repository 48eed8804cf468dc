/** Commits in a loop, eight at a time, and prints each revision once it is acknowledged; a test kills it. */
import { writeSync } from 'node:fs';
import { systemClock } from '#shared/clock.ts';
import { createSqliteJournal } from '../../control-plane/store/sqlite.ts';

const [file = ''] = process.argv.slice(2);
const journal = createSqliteJournal({ file, clock: systemClock });
let { revision: next } = await journal.load();

async function commitForever(): Promise<never> {
  for (;;) {
    next += 1;
    const key = `key-${String(next).padStart(8, '0')}`;
    const value = JSON.stringify({ padding: 'x'.repeat(next % 3_000) });
    const { revision } = await journal.commit({ compares: [], writes: [{ kind: 'put', key, value }] });
    writeSync(1, `${revision} ${key}\n`);
  }
}

await Promise.all(Array.from({ length: 8 }, commitForever));
