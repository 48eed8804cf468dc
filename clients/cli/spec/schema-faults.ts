import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import { closest } from 'fastest-levenshtein';
import type { FieldFault } from '#shared/errors.ts';
import { networkSchema } from './network-schema.ts';
import { workloadSchema } from './schema.ts';

const validate = new Ajv2020({ allErrors: true, strict: false, verbose: true }).compile(workloadSchema);

const validateNetwork = new Ajv2020({ allErrors: true, strict: false, verbose: true }).compile(networkSchema);

export const isNetwork = (value: unknown): boolean =>
  (value as { kind?: unknown } | null)?.kind === 'Network';

/** Everything in a document that the schema of its kind does not know, in the words of the house. */
export function schemaFaults(value: unknown): FieldFault[] {
  if (isNetwork(value)) return validateNetwork(value) ? [] : faultsOf(validateNetwork.errors);
  if (validate(value)) return [];
  return faultsOf(validate.errors).map((fault) =>
    fault.field === 'kind' ? { ...fault, message: `${fault.message} or "Network"` } : fault,
  );
}

/** What a validator found, in the words of the house. */
export const faultsOf = (errors: readonly ErrorObject[] | null | undefined): FieldFault[] =>
  (errors ?? []).map(faultOf);

function faultOf(error: ErrorObject): FieldFault {
  const field = pathOf(error.instancePath);
  const params = error.params as Record<string, unknown>;
  if (error.keyword === 'additionalProperties') {
    const key = String(params['additionalProperty']);
    const known = Object.keys((error.parentSchema as { properties?: object }).properties ?? {});
    const hint = known.length === 0 ? '' : `; did you mean "${closest(key, known)}"?`;
    return { field: field ? `${field}.${key}` : key, message: `is not a key here${hint}` };
  }
  if (error.keyword === 'required')
    return { field, message: `"${String(params['missingProperty'])}" is missing` };
  return { field, message: `is ${show(error.data)}; wanted ${wantedBy(error, params)}` };
}

/** A JSON pointer as people write paths: "/command/0" is "command[0]". */
const pathOf = (pointer: string): string =>
  pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path ? `${path}.${part}` : part), '');

function wantedBy(
  { keyword, data, message, parentSchema }: ErrorObject,
  params: Record<string, unknown>,
): string {
  const { description = '', examples = [] } = parentSchema as { description?: string; examples?: unknown[] };
  const [example] = examples;
  const suchAs = example === undefined ? '' : ` such as ${JSON.stringify(example)}`;
  switch (keyword) {
    case 'enum':
    case 'const': {
      const allowed = ((params['allowedValues'] as unknown[] | undefined) ?? [params['allowedValue']]).map(
        String,
      );
      const words = allowed.map((one) => JSON.stringify(one)).join(' or ');
      const several = typeof data === 'string' && allowed.length > 1;
      return several ? `${words}; did you mean "${closest(data, allowed)}"?` : words;
    }
    case 'type':
      return `${namesOf(params['type'])}${suchAs}`;
    case 'pattern':
      return description.replace(/\.$/, '');
    default:
      // minimum and maximum: "must be <= 1000".
      return (message ?? 'something else')
        .replace(/^must be <= /, 'at most ')
        .replace(/^must be >= /, 'at least ');
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'keys and values',
};

const namesOf = (types: unknown): string =>
  [types]
    .flat()
    .map((one) => typeNames[String(one)] ?? String(one))
    .join(' or ');

const show = (data: unknown): string => {
  const text = JSON.stringify(data) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
};
