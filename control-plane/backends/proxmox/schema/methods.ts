/** Methods of the API by name: "POST /nodes/{node}/lxc". */
export type MethodName = `${'GET' | 'POST' | 'PUT' | 'DELETE'} /${string}`;
/** Path parameters and others together. */
export type ParametersOf<Name extends MethodName> = Readonly<Record<string, unknown>> & {
  readonly of?: Name;
};
