import { journalConformance } from '../../test/conformance/journal.ts';
import { createMemoryJournal } from './memory.ts';

journalConformance('memory', async () => {
  const journal = createMemoryJournal();
  const reopen = async () => {
    await journal.close();
    return journal;
  };
  return { journal, reopen, [Symbol.asyncDispose]: () => journal.close() };
});
