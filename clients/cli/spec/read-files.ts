import { readFile, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DroverError, isKind } from '#shared/errors.ts';
import type { NetworkDocument, WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { type ParsedDocument, readSpec, specError } from './parse-spec.ts';

export interface Documents {
  /** Workloads. */
  readonly messages: readonly WorkloadDocument[];
  readonly networks: readonly NetworkDocument[];
  /** A refusal of the control plane, with the places in the files that it speaks of. */
  locate(error: unknown): unknown;
}

/** Reads files, directories (their *.yaml, *.yml and *.json) and "-", every fault of all of them at once. */
export async function readDocuments(
  sources: readonly string[],
  stdin: NodeJS.ReadStream,
): Promise<Documents> {
  if (sources.length === 0) {
    throw new DroverError('invalid-argument', 'which file? wanted -f FILE, -f DIRECTORY or -f -');
  }
  const documents: ParsedDocument[] = [];
  const networks: ParsedDocument<NetworkDocument>[] = [];
  const faults: string[] = [];
  for (const file of (await Promise.all(sources.map(filesOf))).flat()) {
    const found = readSpec(await textOf(file, stdin), file === '-' ? '<stdin>' : file);
    documents.push(...found.documents);
    networks.push(...found.networks);
    faults.push(...found.faults);
  }
  if (faults.length > 0) throw specError(faults);
  return {
    messages: documents.map(({ document }) => document),
    networks: networks.map(({ document }) => document),
    locate: (error) => locate(error, documents, networks),
  };
}

async function filesOf(source: string): Promise<string[]> {
  if (source === '-') return ['-'];
  const found = await stat(source).catch((cause: unknown) => {
    throw new DroverError('not-found', `there is no file ${source}`, { cause });
  });
  if (!found.isDirectory()) return [source];
  const names = (await readdir(source)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  if (names.length === 0) throw new DroverError('not-found', `${source} holds no .yaml, .yml or .json file`);
  return names.map((name) => path.join(source, name));
}

async function textOf(file: string, stdin: NodeJS.ReadStream): Promise<string> {
  if (file !== '-') return readFile(file, 'utf8');
  let text = '';
  stdin.setEncoding('utf8');
  for await (const chunk of stdin) text += chunk as string;
  return text;
}

/**
 * The control plane names "documents[1].resources.memory" and "networks[0].mtu"; a person wants the file
 * and the line.
 */
function locate(
  error: unknown,
  documents: readonly ParsedDocument[],
  networks: readonly ParsedDocument<NetworkDocument>[],
): unknown {
  if (!isKind(error, 'invalid-argument') || error.faults.length === 0) return error;
  // Beside networks every workload's fault names its document: a workload has a field "networks", too.
  const inNetwork = networks.length > 0 ? /^networks\[(\d+)\]\.?(.*)$/ : undefined;
  const places = error.faults.map((fault) => {
    // About them all, not about the one and only.
    if (fault.field === 'documents') return `${fault.field}: ${fault.message}`;
    const network = inNetwork?.exec(fault.field);
    const [, index = '0', field = fault.field] =
      network ?? /^documents\[(\d+)\]\.?(.*)$/.exec(fault.field) ?? [];
    const document = network ? networks[Number(index)] : documents[Number(index)];
    return document?.locate({ field, message: fault.message }) ?? `${fault.field}: ${fault.message}`;
  });
  return specError(places);
}
