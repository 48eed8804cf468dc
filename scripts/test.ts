/**
 * `npm test`: runs every check and every test. The last line is "N passed, N
 * failed".
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const bin = path.join(root, 'node_modules/.bin');
const env = { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` };

/** Runs to the end and answers the exit code; output goes where ours does. */
function run(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

/** A file that could not even be loaded counts as one failure. */
function count(file: string): { passed: number; failed: number } {
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  const broken = report.testResults.filter(
    (one) => one.status === 'failed' && one.assertionResults.length === 0,
  );
  return { passed: report.numPassedTests, failed: report.numFailedTests + broken.length };
}

const folder = mkdtempSync(path.join(os.tmpdir(), 'drover-test-'));
let failed = 0;
let passed = 0;
try {
  // Everything that needs no running part; each counts as one test.
  for (const script of ['check', 'lint', 'format:check', 'knip', 'proto:check', 'proxmox:check']) {
    const code = await run('npm', ['run', '--silent', script]);
    console.error(`${code === 0 ? 'ok' : 'FAILED'}: npm run ${script}`);
    if (code === 0) passed += 1;
    else failed += 1;
  }
  const file = path.join(folder, 'report.json');
  const code = await run('vitest', [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
    ...process.argv.slice(2),
  ]);
  const counted = count(file);
  passed += counted.passed;
  failed += Math.max(counted.failed, code === 0 ? 0 : 1);
} catch (error) {
  console.error(error);
  failed += 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed === 0 ? 0 : 1;
console.log(`${passed} passed, ${failed} failed`);
