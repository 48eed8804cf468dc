import { DroverError } from '#shared/errors.ts';
import { cleanText } from './words.ts';

/** Where an API listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
  /** "10.0.0.11:8006", "[fd00::1]:8006". */
  readonly address: string;
}

const defaultPort = 8006;

/** "10.0.0.11", "pve1:8006", "[fd00::1]:8006", "https://pve1:8006/". invalid-argument. */
export function parseEndpoint(text: string): Address {
  const [, v6, name, digits] =
    /^(?:https:\/\/)?(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9][A-Za-z0-9.-]{0,252}))(?::(\d{1,5}))?\/?$/.exec(
      text.trim(),
    ) ?? [];
  const host = (v6 ?? name)?.toLowerCase();
  const port = digits === undefined ? defaultPort : Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new DroverError(
      'invalid-argument',
      `an endpoint is HOST or HOST:PORT, found "${cleanText(text, 80)}"`,
      { nextStep: 'write it like 10.0.0.11:8006' },
    );
  }
  return { host, port, address: v6 === undefined ? `${host}:${port}` : `[${host}]:${port}` };
}
