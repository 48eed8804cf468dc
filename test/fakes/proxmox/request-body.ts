/** Parameters of a request as Proxmox reads them: forms, JSON, queries. */

/** A text for each name; an array where a form repeats it; anything at all from JSON. */
export type RawParameters = Record<string, unknown>;

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
};

/** What follows a second "=" is lost: `net0=name=eth0` gives "name". */
export function parseForm(text: string): RawParameters {
  const parameters: RawParameters = {};
  for (const part of text.replace(/^\?/, '').split(/[&;]/)) {
    const [name = '', value = ''] = part.split('=').map(decode);
    if (name === '' || name === '_dc') continue;
    const before = parameters[name];
    if (before === undefined) parameters[name] = value;
    else parameters[name] = Array.isArray(before) ? [...(before as unknown[]), value] : [before, value];
  }
  return parameters;
}

/** What cannot be read costs a 500 with the words of a Perl library. */
export class MalformedJson extends Error {
  override readonly name = 'MalformedJson';
}

/** true and false become 1 and 0, numbers their text; null is not given. What nests stays as it is. */
export function parseJson(text: string, major: number): RawParameters {
  const line = major >= 9 ? 934 : 917;
  const source = `at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line ${line}.`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const rest = text.slice(1, 21);
    throw new MalformedJson(
      `'"' expected, at character offset 1 (before "${rest.replace(/\}$/, '')}") ${source}\n`,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedJson(
      `malformed JSON string, neither tag, array, object, number, string or atom ${source}\n`,
    );
  }
  const parameters: RawParameters = {};
  for (const [name, one] of Object.entries(value)) {
    if (typeof one === 'boolean') parameters[name] = one ? '1' : '0';
    else if (typeof one === 'number') parameters[name] = String(one);
    else if (one !== null) parameters[name] = one;
  }
  return parameters;
}
