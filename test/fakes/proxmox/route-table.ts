/** Which method a path means, and what stands in it. */
import { factsFor } from '../../../control-plane/backends/proxmox/schema/facts.ts';
import type { MethodFacts } from '../../../control-plane/backends/proxmox/schema/facts.ts';
import type { Handler, Routes } from './route.ts';

export interface FoundRoute {
  /** "GET /nodes/{node}/lxc". */
  readonly name: string;
  readonly pathParameters: Readonly<Record<string, string>>;
  readonly facts: MethodFacts | undefined;
  /** Undefined where the API has the method and the server for tests does not serve it. */
  readonly handler: Handler | undefined;
}

export interface RouteTable {
  /** The path below /api2/json, decoded. */
  find(method: string, path: string): FoundRoute | undefined;
  /** Names of the methods that are served and that no version knows: a slip of the pen. */
  strangers(): string[];
}

interface Branch {
  readonly fixed: Map<string, Branch>;
  parameter: { readonly name: string; readonly branch: Branch } | undefined;
  readonly names: Map<string, string>;
}

const newBranch = (): Branch => ({ fixed: new Map(), parameter: undefined, names: new Map() });
const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '');

/** Volume ids have slashes of their own: they are the rest of the path. */
const greedy = new Set(['volume']);

export function createRouteTable(version: string, routes: Routes): RouteTable {
  const facts = factsFor(version);
  const schemas = ['8.4.21', '9.2.11'].map(factsFor);
  const root = newBranch();
  // What only the other version has is not there.
  for (const name of Object.keys(facts.methods)) insert(root, name);

  return {
    strangers: () =>
      Object.keys(routes).filter((name) => schemas.every(({ methods }) => methods[name] === undefined)),
    find(method, path) {
      const pathParameters: Record<string, string> = {};
      const branch = walk(root, partsOf(path), pathParameters);
      const name = branch?.names.get(method);
      if (name === undefined) return undefined;
      return { name, pathParameters, facts: facts.methods[name], handler: routes[name] };
    },
  };
}

function insert(root: Branch, name: string): void {
  const [method = '', template = ''] = name.split(' ');
  let branch = root;
  for (const part of partsOf(template)) branch = step(branch, part);
  branch.names.set(method, name);
}

function step(branch: Branch, part: string): Branch {
  const parameter = /^\{(.*)\}$/.exec(part)?.[1];
  if (parameter !== undefined) {
    branch.parameter ??= { name: parameter, branch: newBranch() };
    return branch.parameter.branch;
  }
  const next = branch.fixed.get(part) ?? newBranch();
  branch.fixed.set(part, next);
  return next;
}

function walk(root: Branch, parts: readonly string[], found: Record<string, string>): Branch | undefined {
  let branch: Branch | undefined = root;
  for (const [index, part] of parts.entries()) {
    const fixed: Branch | undefined = branch.fixed.get(part);
    const { parameter }: Branch = branch;
    if (fixed !== undefined) branch = fixed;
    else if (parameter === undefined) return undefined;
    else if (greedy.has(parameter.name)) {
      found[parameter.name] = parts.slice(index).join('/');
      return parameter.branch;
    } else {
      found[parameter.name] = part;
      branch = parameter.branch;
    }
  }
  return branch;
}
