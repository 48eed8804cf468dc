import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { JournalEntry } from './journal.ts';
import type { FlatWrites, SqliteFailure } from './sqlite-messages.ts';

/** "drvr": tells our files from others'. */
const applicationId = 0x64_72_76_72;

/** Each brings a file from the version of its place to the next; the first makes an empty file ours. */
const migrations: readonly string[] = [
  `CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
   INSERT INTO meta (name, value) VALUES ('schema-version', 0), ('revision', 0);
   CREATE TABLE entry (
     id INTEGER PRIMARY KEY,
     key TEXT NOT NULL UNIQUE,
     value TEXT NOT NULL,
     mod_revision INTEGER NOT NULL
   );
   PRAGMA application_id = ${applicationId};`,
];

export interface SqliteFile {
  readonly revision: number;
  readonly entries: JournalEntry[];
  /** Adds to the group, and begins one where there is none. */
  write(writes: FlatWrites): void;
  /**
   * The group is durable when it returns; where it throws, nothing of it was written or the disk is in doubt.
   */
  commit(): void;
  /** Forgets the group. */
  rollBack(): void;
  close(): void;
}

/** Why a file cannot be used, found before anything was changed in it. */
class ForeignFile extends Error {}

/**
 * Opens or makes the file and keeps it locked until it is closed or the process ends. An exclusive lock also
 * keeps the index of the write-ahead log in memory, so that no third file is needed.
 */
export function openSqliteFile(file: string): SqliteFile {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    migrate(database);
    const revision = readMeta(database, 'revision');
    const select = database.prepare('SELECT key, value, mod_revision AS modRevision FROM entry ORDER BY key');
    const entries = select.all() as unknown as JournalEntry[];
    return { revision, entries, ...groups(database), close: () => database.close() };
  } catch (error) {
    database.close();
    throw error;
  }
}

function readMeta(database: DatabaseSync, name: string): number {
  const row = database.prepare('SELECT value FROM meta WHERE name = ?').get(name);
  return Number(row?.['value']);
}

function migrate(database: DatabaseSync): void {
  inTransaction(database, () => {
    const version = schemaVersion(database);
    if (version > migrations.length) {
      const found = `the file has schema version ${version}, this program knows up to ${migrations.length}`;
      throw new ForeignFile(`${found}: it was written by a newer version`);
    }
    // A file that is up to date is not written to: it can be opened and read on a full disk.
    if (version === migrations.length) return;
    for (const migration of migrations.slice(version)) database.exec(migration);
    database.prepare(`UPDATE meta SET value = ? WHERE name = 'schema-version'`).run(migrations.length);
  });
}

function schemaVersion(database: DatabaseSync): number {
  const id = Number(database.prepare('PRAGMA application_id').get()?.['application_id']);
  if (id === applicationId) return readMeta(database, 'schema-version');
  const tables = Number(database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.['count']);
  if (tables > 0) throw new ForeignFile('the file is a database, but not one of ours');
  return 0;
}

function inTransaction(database: DatabaseSync, body: () => void): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    body();
    database.exec('COMMIT');
  } catch (error) {
    rollBack(database);
    throw error;
  }
}

/** Some failures have already rolled back by themselves. */
function rollBack(database: DatabaseSync): void {
  if (database.isTransaction) database.exec('ROLLBACK');
}

function groups(database: DatabaseSync): Pick<SqliteFile, 'write' | 'commit' | 'rollBack'> {
  const statements = prepareAll(database);
  let revision = 0;
  return {
    write: (writes) => {
      if (!database.isTransaction) database.exec('BEGIN IMMEDIATE');
      for (let at = 0; at < writes.length; at += 3) {
        const [key, value] = [writes[at + 1] as string, writes[at + 2] as string | null];
        revision = writes[at] as number;
        if (value === null) statements.remove.run(key);
        else statements.put.run(key, value, revision);
      }
    },
    commit: () => {
      statements.setRevision.run(revision);
      database.exec('COMMIT');
    },
    rollBack: () => rollBack(database),
  };
}

type Statements = Readonly<Record<'put' | 'remove' | 'setRevision', StatementSync>>;

const prepareAll = (database: DatabaseSync): Statements => ({
  put: database.prepare(
    `INSERT INTO entry (key, value, mod_revision) VALUES (?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, mod_revision = excluded.mod_revision`,
  ),
  remove: database.prepare('DELETE FROM entry WHERE key = ?'),
  setRevision: database.prepare(`UPDATE meta SET value = ? WHERE name = 'revision'`),
});

/**
 * Primary result codes: https://sqlite.org/rescode.html. Whatever is not known to have written nothing is
 * doubt.
 */
const reasonOfCode: Readonly<Record<number, SqliteFailure['reason']>> = {
  5: 'locked',
  13: 'full',
  26: 'foreign',
};

export function describeFailure(error: unknown): SqliteFailure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ForeignFile) return { reason: 'foreign', message };
  const code = Number((error as { errcode?: number }).errcode);
  return { reason: reasonOfCode[code & 0xff] ?? 'broken', message };
}
