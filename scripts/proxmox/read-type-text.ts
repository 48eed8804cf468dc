import type { ValueFacts, ValuesFacts } from '../../control-plane/backends/proxmox/schema/facts.ts';

/**
 * A named format's sub-keys stand nowhere but in the text `[[order=]\d+] [,up=\d+] [,gw=<GatewayIPv4>]`:
 * their names, which may be left out, which needs no name, and sometimes their type. Undefined for others.
 */
export function subKeysOfTypeText(typeText: string): ValuesFacts | undefined {
  const starts = [...typeText.matchAll(/(?:^|\s)(\[)?,?(\[)?([a-z][\w-]*)=(\])?/g)];
  if (starts.length === 0 || starts[0]?.index !== 0) return undefined;
  const keys = starts.map((match, index) => {
    const [all, first, second, name = '', bare] = match;
    const end = starts[index + 1]?.index ?? typeText.length;
    const value = typeText.slice(match.index + all.length, end).trim();
    const brackets = [first, second].filter((one) => one !== undefined).length;
    const isOptional = brackets === (bare === undefined ? 1 : 2);
    return [
      name,
      {
        ...typeOf(isOptional ? value.replace(/\]$/, '') : value),
        ...(isOptional ? { optional: true as const } : {}),
        ...(bare === undefined ? {} : { defaultKey: true as const }),
      },
    ] as const;
  });
  return Object.fromEntries(keys);
}

function typeOf(value: string): ValueFacts {
  if (value === '<1|0>') return { type: 'boolean' };
  if (value === '<integer>' || value === '<N>' || value === '\\d+') return { type: 'integer' };
  if (value === '<number>') return { type: 'number' };
  const words = /^<([^<>]+)>$/.exec(value)?.[1]?.split('|') ?? [];
  const isChoice = words.length > 1 && words.every((word) => /^[a-z/][a-z0-9/]*$/.test(word));
  if (isChoice) return { type: 'string', enum: words };
  return value.includes(';') ? { type: 'string', list: true } : { type: 'string' };
}
