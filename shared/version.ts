/** The product's version. package.json carries the same; tidy.test.ts compares them. */
export const version = '0.1.0';

/** Counts changes of proto/drover/runtime. The control plane may be one above an agent, or equal. */
export const wireMinor = 0;
