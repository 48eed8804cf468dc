import { readFile } from 'node:fs/promises';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { LineCounter, parseDocument } from 'yaml';
import { DroverError, type FieldFault } from '#shared/errors.ts';
import type { Matcher, RoutingRule } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { specError } from './parse-spec.ts';
import { offsetOf, placer } from './places.ts';
import { routingSchema } from './routing-schema.ts';
import { faultsOf } from './schema-faults.ts';

const validate = new Ajv2020({ allErrors: true, strict: false, verbose: true }).compile(routingSchema);

export interface RoutingFile {
  readonly rules: RoutingRule[];
  /** Empty: the control plane's own. */
  readonly defaultRuntime: string;
  /** A refusal of the control plane, with the places in the file that it speaks of. */
  locate(error: unknown): unknown;
}

interface RuleInFile {
  readonly name: string;
  readonly runtime: string;
  readonly workload?: MatcherInFile;
  readonly image?: MatcherInFile;
  readonly labels?: Readonly<Record<string, MatcherInFile>>;
}
type MatcherInFile = string | { readonly exact?: string; readonly glob?: string; readonly regex?: string };

/** invalid-argument with every fault and its place. */
export async function readRouting(file: string): Promise<RoutingFile> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new DroverError('not-found', `there is no file ${file}`, { cause });
  });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const place = placer(text, file, lines);
  const locateFault = ({ field, message }: FieldFault): string =>
    place(offsetOf(document, field), field === '' ? message : `${field}: ${message}`);
  if (document.errors.length > 0)
    throw specError(document.errors.map(({ pos, message }) => place(pos[0], message)));
  const value: unknown = document.toJS({ maxAliasCount: 100 });
  if (!validate(value)) throw specError(faultsOf(validate.errors).map(locateFault));
  const { rules, default: defaultRuntime = '' } = value as { rules: RuleInFile[]; default?: string };
  return {
    rules: rules.map(formatRule),
    defaultRuntime,
    locate(error) {
      if (!(error instanceof DroverError) || error.faults.length === 0) return error;
      return specError(error.faults.map(locateFault));
    },
  };
}

const formatRule = ({ name, runtime, workload, image, labels = {} }: RuleInFile): RoutingRule => ({
  name,
  runtime,
  workload: workload === undefined ? undefined : formatMatcher(workload),
  image: image === undefined ? undefined : formatMatcher(image),
  labels: Object.fromEntries(Object.entries(labels).map(([key, one]) => [key, formatMatcher(one)])),
});

function formatMatcher(one: MatcherInFile): Matcher {
  if (typeof one === 'string') return { match: { $case: 'exact', value: one } };
  const { exact, glob, regex } = one;
  if (glob !== undefined) return { match: { $case: 'glob', value: glob } };
  if (regex !== undefined) return { match: { $case: 'regex', value: regex } };
  return { match: { $case: 'exact', value: exact ?? '' } };
}
