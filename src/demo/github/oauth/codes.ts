import { newCodeText } from '../token-text.ts';

const codeLifeMs = 10 * 60 * 1000;

/** What somebody agreed to on the authorize page. */
export interface Approval {
  personId: number;
  clientId: string;
  redirectUri: string;
  scopes: readonly string[];
  /** The S256 challenge the request came with; the exchange must then show its verifier. */
  challenge: string | null;
}

/** Authorization codes: each is good once, for ten minutes. */
export class Codes {
  readonly #now: () => number;
  readonly #pending = new Map<string, Approval & { endsAt: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  issue(approval: Approval): string {
    this.#forgetEnded();
    const code = newCodeText();
    this.#pending.set(code, { ...approval, endsAt: this.#now() + codeLifeMs });
    return code;
  }

  /** Takes a code out of circulation, whatever the exchange then makes of it. */
  take(code: string): Approval | undefined {
    this.#forgetEnded();
    const approval = this.#pending.get(code);
    this.#pending.delete(code);
    return approval;
  }

  clear(): void {
    this.#pending.clear();
  }

  #forgetEnded(): void {
    const now = this.#now();
    for (const [code, { endsAt }] of this.#pending) {
      if (now > endsAt) this.#pending.delete(code);
    }
  }
}
