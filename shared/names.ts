const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** Five characters of an id's random tail: its last 25 bits in Crockford's base 32. */
export function shortTail(id: string): string {
  let bits = Number.parseInt(id.slice(-7), 16);
  let tail = '';
  for (let place = 0; place < 5; place += 1) {
    tail = (alphabet[bits % 32] ?? '0') + tail;
    bits = Math.floor(bits / 32);
  }
  return tail;
}

/**
 * What people call an instance: "web-x7k2p". The caller draws another id where the name is taken in its
 * project.
 */
export const displayName = (workload: string, id: string): string => `${workload}-${shortTail(id)}`;
