/**
 * Makes control-plane/backends/proxmox/schema/gen out of the API's own description, which every Proxmox host
 * has: `npm run proxmox:schema -- FILE VERSION [FILE VERSION …]`, for instance
 * `npm run proxmox:schema -- /usr/share/pve-docs/api-viewer/apidoc.js 9.2`. Versions that are not named keep
 * their facts. With --check it only says whether what is committed agrees with itself.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseSchema, factsOfSchema, formatFacts } from './proxmox/read-schema.ts';
import { writeTypes } from './proxmox/write-types.ts';
import type { Facts } from '../control-plane/backends/proxmox/schema/facts.ts';

const folder = path.resolve(import.meta.dirname, '../control-plane/backends/proxmox/schema/gen');
/** The versions that schema/facts.ts loads. */
const versions = ['8.4', '9.2'];
const typesFile = path.join(folder, 'methods.ts');
const factsFile = (version: string): string => path.join(folder, `facts-${version}.json`);

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

const readFacts = (version: string): Facts => JSON.parse(readFileSync(factsFile(version), 'utf8')) as Facts;

/** Every word that a fact may have. */
const factWords = new Set(
  (
    'type optional minimum maximum minLength maxLength enum pattern format items requires onlyFor ' +
    'defaultKey alias keyAlias list'
  ).split(' '),
);

/** Prose, and formats that are named like a set of sub-keys and have none. */
function strayWords({ formats, methods }: Facts): string[] {
  const sets = [...Object.values(formats), ...Object.values(methods).map((method) => method.parameters)];
  const values = sets.flatMap((set) => Object.values(set));
  const stray = values.flatMap((value) => Object.keys(value).filter((word) => !factWords.has(word)));
  const named = values.flatMap((value) => value.format ?? []);
  return [...stray, ...named.filter((name) => /[.#]/.test(name) && formats[name] === undefined)];
}

function check(): void {
  const stray = versions.flatMap((version) => strayWords(readFacts(version)));
  if (stray.length > 0) fail(`wanted facts alone, found ${[...new Set(stray)].join(', ')}`);
  const differ = versions
    .filter((version) => formatFacts(readFacts(version)) !== readFileSync(factsFile(version), 'utf8'))
    .map(factsFile);
  if (writeTypes(versions.map(readFacts)) !== readFileSync(typesFile, 'utf8')) differ.push(typesFile);
  if (differ.length === 0) return;
  fail(`not what their sources make of them: ${differ.join(', ')}\n  next: npm run proxmox:schema`);
}

function generate(pairs: readonly string[]): void {
  for (let index = 0; index < pairs.length; index += 2) {
    const [file = '', version = ''] = pairs.slice(index, index + 2);
    if (!versions.includes(version))
      fail(`wanted FILE VERSION with a version of ${versions.join(', ')}, found ${JSON.stringify(version)}`);
    const facts = factsOfSchema(parseSchema(readFileSync(file, 'utf8')), version);
    writeFileSync(factsFile(version), formatFacts(facts));
  }
  writeFileSync(typesFile, writeTypes(versions.map(readFacts)));
}

if (process.argv.includes('--check')) check();
else generate(process.argv.slice(2));
