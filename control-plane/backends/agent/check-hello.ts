import { DroverError } from '#shared/errors.ts';
import type { HelloResponse } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { version, wireMinor } from '#shared/version.ts';

/**
 * failed-precondition: version-skew, other-incarnation. Capabilities are for those that know them: what is
 * not known here is not used, and no fault.
 */
export function checkHello(
  hello: Pick<HelloResponse, 'version' | 'wireMinor' | 'incarnation'>,
  /** The one that joined under this name; undefined when none is known. */
  expectedIncarnation: string | undefined,
  own = wireMinor,
): void {
  if (hello.wireMinor !== own && hello.wireMinor + 1 !== own) {
    throw new DroverError(
      'failed-precondition',
      `agent ${hello.version} has minor version ${hello.wireMinor}, we (${version}) have ${own}`,
      {
        reason: 'version-skew',
        nextStep: hello.wireMinor > own ? 'upgrade the control plane first' : 'upgrade the agent',
      },
    );
  }
  if (expectedIncarnation === undefined || hello.incarnation === expectedIncarnation) return;
  throw new DroverError(
    'failed-precondition',
    `state directory ${hello.incarnation} uses the certificate of ${expectedIncarnation}`,
    { reason: 'other-incarnation', nextStep: 'join it anew with a token made with --replace' },
  );
}
