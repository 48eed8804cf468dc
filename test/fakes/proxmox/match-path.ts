/** Finds the method that a path of the API means, as a Proxmox server does. */
import type { Facts, MethodFacts } from '../../../control-plane/backends/proxmox/schema/facts.ts';

export interface MatchedPath {
  /** "GET /nodes/{node}/lxc". */
  readonly name: string;
  /** "/nodes/{node}/lxc". */
  readonly template: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly facts: MethodFacts;
}

interface Branch {
  readonly words: Map<string, Branch>;
  placeholder?: { readonly name: string; readonly branch: Branch };
  template?: string;
}

const trees = new WeakMap<Facts, Branch>();

function treeOf(facts: Facts): Branch {
  const known = trees.get(facts);
  if (known !== undefined) return known;
  const root: Branch = { words: new Map() };
  for (const name of Object.keys(facts.methods)) {
    const template = name.slice(name.indexOf(' ') + 1);
    let branch = root;
    for (const part of template.split('/').filter((one) => one !== '')) branch = childOf(branch, part);
    branch.template = template;
  }
  trees.set(facts, root);
  return root;
}

function childOf(branch: Branch, part: string): Branch {
  const name = /^\{(.*)\}$/.exec(part)?.[1];
  if (name !== undefined) {
    branch.placeholder ??= { name, branch: { words: new Map() } };
    return branch.placeholder.branch;
  }
  const child = branch.words.get(part) ?? { words: new Map() };
  branch.words.set(part, child);
  return child;
}

/**
 * The path below /api2/json as it was sent. It is decoded before it is split, so that an encoded slash splits it
 * too; only a volume takes the rest of the path. Undefined: 501 "Method 'GET /nope' not implemented".
 */
export function matchPath(facts: Facts, verb: string, path: string): MatchedPath | undefined {
  const parts = decodeURIComponent(path)
    .split('/')
    .filter((part) => part !== '');
  const parameters: Record<string, string> = {};
  let branch = treeOf(facts);
  for (let index = 0; index < parts.length; index += 1) {
    const part = parts[index] ?? '';
    const word = branch.words.get(part);
    const { placeholder } = branch;
    if (word !== undefined) branch = word;
    else if (placeholder === undefined) return undefined;
    else {
      const isRest = placeholder.name === 'volume';
      parameters[placeholder.name] = isRest ? parts.slice(index).join('/') : part;
      branch = placeholder.branch;
      if (isRest) break;
    }
  }
  const name = `${verb} ${branch.template}`;
  const method = facts.methods[name];
  if (branch.template === undefined || method === undefined) return undefined;
  return { name, template: branch.template, parameters, facts: method };
}
