import { DroverError } from '#shared/errors.ts';
import { cleanText } from './words.ts';

/** Where an API listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
  /** "10.0.0.11:8006", "[fd00::1]:8006". */
  readonly address: string;
}

/** Where every node listens; others are of what stands in front of one. */
export const usualPort = 8006;

/** As the cluster tells it, to the host of an endpoint: addresses of IPv6 are in brackets there. */
export const hostOf = (ip: string): string => (ip.includes(':') ? `[${ip}]` : ip);

/**
 * "10.0.0.11", "pve1:8006", "[fd00::1]:8006", "https://pve1:8006/". `portOf`: of a host that comes without
 * one. invalid-argument.
 */
export function parseEndpoint(text: string, portOf = (_host: string): number => usualPort): Address {
  const [, v6, name, digits] =
    /^(?:https:\/\/)?(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9][A-Za-z0-9.-]{0,252}))(?::(\d{1,5}))?\/?$/.exec(
      text.trim(),
    ) ?? [];
  const host = v6 === undefined ? name?.toLowerCase() : shortest(v6);
  const port = digits === undefined ? portOf(host ?? '') : Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new DroverError(
      'invalid-argument',
      `an endpoint is HOST or HOST:PORT, found "${cleanText(text, 80)}"`,
      { nextStep: 'write it like 10.0.0.11:8006, or [fd00::11]:8006' },
    );
  }
  return { host, port, address: `${hostOf(host)}:${port}` };
}

/** One address is written in many ways; undefined: it is none. */
function shortest(v6: string): string | undefined {
  const url = URL.parse(`https://[${v6}]/`);
  return url === null ? undefined : url.hostname.slice(1, -1);
}
