/** What a call fails with: the status and words that Proxmox answers. */

/**
 * A refusal with the words of Proxmox. The reason phrase is the message, the body repeats it with a line feed.
 * 595 and 596 have no body at all.
 */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure';
  readonly status: number;
  readonly errors: Readonly<Record<string, string>> | undefined;

  constructor(
    status: number,
    message: string,
    { errors }: { readonly errors?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

/** 400 with a text for each parameter. */
export const parameterFailure = (errors: Readonly<Record<string, string>>): ApiFailure =>
  new ApiFailure(400, 'Parameter verification failed.', { errors });

/** 500 with a text: nearly every refusal of Proxmox. */
export const refusal = (message: string): ApiFailure => new ApiFailure(500, message);
