/**
 * Makes shared/gen out of proto/, and docs/*.schema.json out of the command line's schemas:
 * `npm run proto`; with --check it only says whether what is committed is current.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { networkSchema } from '../clients/cli/spec/network-schema.ts';
import { workloadSchema } from '../clients/cli/spec/schema.ts';

const root = path.resolve(import.meta.dirname, '..');
const generated = path.join(root, 'shared/gen');
const check = process.argv.includes('--check');
/** The contract as of the last release: what is on the wire may grow, and must not break it. */
const baseline = 'proto/baseline.binpb';

function buf(...args: readonly string[]): void {
  try {
    execFileSync(path.join(root, 'node_modules/.bin/buf'), args, { cwd: root, stdio: ['ignore', 2, 2] });
  } catch {
    const next =
      args[0] === 'breaking' ? '; next: mend it, or before a release: npm run proto -- --accept' : '';
    console.error(`buf ${args[0]} refuses proto/ for the reasons above${next}`);
    process.exit(1);
  }
}

function readTree(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const texts = files.filter((file) => statSync(path.join(folder, file)).isFile());
  return new Map(texts.sort().map((file) => [file, readFileSync(path.join(folder, file), 'utf8')]));
}

/** The descriptor set as a module, so that a bundled program serves reflection without a file beside it. */
function writeDescriptors(): void {
  const folder = mkdtempSync(path.join(root, 'node_modules/.cache-descriptor-'));
  try {
    const file = path.join(folder, 'descriptor.binpb');
    buf('build', 'proto', '--exclude-source-info', '-o', file);
    const text = readFileSync(file).toString('base64');
    const lines = text.match(/.{1,100}/g) ?? [];
    const body = lines.map((line) => `  '${line}',`).join('\n');
    const head = '/** The FileDescriptorSet of proto/, in base64. Generated: npm run proto. */\n';
    writeFileSync(
      path.join(generated, 'descriptor.ts'),
      `${head}export const descriptorSet = [\n${body}\n].join('');\n`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** For editors; laid out as the formatter wants it, which would complain otherwise. */
function schemaText(file: string, schema: object): string {
  return execFileSync(path.join(root, 'node_modules/.bin/biome'), ['format', `--stdin-file-path=${file}`], {
    cwd: root,
    input: JSON.stringify(schema, undefined, 2),
    encoding: 'utf8',
  });
}

const schemas = Object.entries({
  'docs/workload.schema.json': workloadSchema,
  'docs/network.schema.json': networkSchema,
}).map(([file, schema]) => ({ file, text: schemaText(file, schema) }));
const before = check ? readTree(generated) : new Map<string, string>();
buf('lint', 'proto');
if (process.argv.includes('--accept')) buf('build', 'proto', '--exclude-source-info', '-o', baseline);
buf('breaking', 'proto', '--against', baseline);
buf('generate', '--template', 'proto/buf.gen.yaml');
writeDescriptors();
if (check) {
  const after = readTree(generated);
  const differ = [...new Set([...before.keys(), ...after.keys()])]
    .filter((file) => before.get(file) !== after.get(file))
    .map((file) => `shared/gen/${file}`);
  for (const { file, text } of schemas) {
    const committed = existsSync(path.join(root, file)) ? readFileSync(path.join(root, file), 'utf8') : '';
    if (committed !== text) differ.push(file);
  }
  if (differ.length > 0) {
    console.error(
      `not what their sources make of them: ${differ.join(', ')}\n` +
        '  next: npm run proto, and commit the result',
    );
    process.exitCode = 1;
  }
} else {
  for (const { file, text } of schemas) writeFileSync(path.join(root, file), text);
}
