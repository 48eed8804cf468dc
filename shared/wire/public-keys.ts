import { type Faults, atMost, checkLine, show } from '#shared/wire/checks.ts';

const keysMax = 32;
const kinds = [
  'ssh-ed25519',
  'ssh-rsa',
  'ssh-dss',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
];
const rest = /^[A-Za-z0-9+/]{16,4000}={0,2}(?: [^"'\\]{1,200})?$/;

const isKey = (text: string): boolean => {
  const space = text.indexOf(' ');
  return kinds.includes(text.slice(0, space)) && rest.test(text.slice(space + 1));
};

/** Public keys as in authorized_keys, without options before them. */
export function checkPublicKeys(texts: readonly string[], field: string, faults: Faults): string[] {
  atMost(texts, keysMax, field, faults);
  return texts.slice(0, keysMax).map((text, place) => {
    const at = `${field}[${place}]`;
    if (!isKey(text))
      faults.add(at, `${show(text)} is not a public key; wanted such as "ssh-ed25519 AAAA… name@host"`);
    return checkLine(text, 8192, at, faults);
  });
}
