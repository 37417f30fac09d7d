// The secrets the gateway signs and encrypts with. Types only.

/** A secret and its version; the first of a list signs and encrypts, all verify and decrypt. */
export interface VersionedSecret {
  readonly version: number;
  readonly value: string;
}

/** A named key for GitHub tokens; 32 bytes. */
export interface TokenKey {
  readonly id: string;
  readonly key: Buffer;
}
