/** What the JSON schemas of all documents are made of. */

export const text = (description: string, pattern?: string): object => ({
  type: 'string',
  description,
  ...(pattern === undefined ? {} : { pattern }),
});

export const texts = (description: string): object => ({
  type: 'array',
  items: { type: 'string' },
  description,
});

export const count = (maximum: number, description: string): object => ({
  type: 'integer',
  minimum: 0,
  maximum,
  default: 0,
  description,
});

export const flag = (description: string, isSo = false): object => ({
  type: 'boolean',
  default: isSo,
  description,
});

/** The first is what is so by itself; an empty one is not said. */
export const choice = (choices: readonly string[], description: string): object => {
  const [plain = '', ...others] = choices;
  const said = plain === '' ? others : choices;
  return { enum: said, ...(plain !== '' && { default: plain }), description };
};

export const duration = (description: string): object => ({
  ...text(`${description} Such as "10s" or "1h30m".`),
  examples: ['10s', '1h30m'],
});

export const size = (description: string, example: string): object => ({
  ...text(description),
  examples: [example],
});

export const stringMap = (description: string): object => ({
  type: 'object',
  description,
  additionalProperties: { type: ['string', 'number', 'boolean'] },
});

export const section = (description: string, properties: Readonly<Record<string, object>>): object => ({
  type: 'object',
  description,
  properties,
  additionalProperties: false,
});
