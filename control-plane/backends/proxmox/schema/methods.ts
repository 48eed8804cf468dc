import type { Methods } from './gen/methods.ts';

export type * from './gen/methods.ts';

/** Methods of the API by name: "POST /nodes/{node}/lxc". */
export type MethodName = keyof Methods;

/**
 * Path parameters and others together, over all versions that are known: which of them the cluster's own
 * version takes, `takes` of facts.ts tells. What is undefined is not sent.
 */
export type ParametersOf<Name extends MethodName> = Methods[Name];
