import { normalizeScopes } from './scopes.ts';
import { newRefreshText, newTokenText, type TokenKind } from './token-text.ts';

/** Seconds a GitHub App's user token lives. */
export const accessTokenSeconds = 28_800;
/** Seconds its refresh token lives: six months. */
export const refreshTokenSeconds = 15_897_600;

const tokensPerGrant = 10;

/** An issued token. Times are epoch milliseconds; `clientId` is null on personal access tokens, `refresh` on tokens that do not end. */
export interface Token {
  text: string;
  kind: TokenKind;
  personId: number;
  clientId: string | null;
  /** Normalised scopes; on fine-grained tokens null stands for every permission. */
  scopes: readonly string[] | null;
  createdAt: number;
  expiresAt: number | null;
  refresh: { text: string; expiresAt: number } | null;
}

/** What an application gets a token for. */
export interface AppTokenRequest {
  personId: number;
  clientId: string;
  scopes: readonly string[];
  expiring: boolean;
}

/** What a person makes a personal access token with. */
export interface PersonalTokenRequest {
  personId: number;
  kind: 'classic' | 'fine-grained';
  scopes: readonly string[] | null;
  expiresAt: number | null;
}

/** Every living token of one stand-in. */
export class Tokens {
  readonly #now: () => number;
  readonly #byText = new Map<string, Token>();
  readonly #byRefresh = new Map<string, Token>();
  readonly #byGrant = new Map<string, Set<Token>>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Issues a token to an application, revoking its oldest for the same person and scopes beyond ten. */
  issueToApp(request: AppTokenRequest): Token {
    const { personId, clientId, expiring } = request;
    const kind = expiring ? 'app' : 'oauth';
    const createdAt = this.#now();
    const token: Token = {
      text: newTokenText(kind),
      kind,
      personId,
      clientId,
      scopes: expiring ? [] : request.scopes,
      createdAt,
      expiresAt: expiring ? createdAt + accessTokenSeconds * 1000 : null,
      refresh: expiring
        ? { text: newRefreshText(), expiresAt: createdAt + refreshTokenSeconds * 1000 }
        : null,
    };
    this.#keep(token);
    this.#revokeOldest(token);
    return token;
  }

  issueToPerson(request: PersonalTokenRequest): Token {
    const text = newTokenText(request.kind);
    const token: Token = { ...request, text, clientId: null, createdAt: this.#now(), refresh: null };
    this.#keep(token);
    return token;
  }

  /** The token, unless it is unknown, revoked or past its end: to GitHub's clients these are one. */
  find(text: string): Token | undefined {
    const token = this.#byText.get(text);
    return token && this.#isBefore(token.expiresAt) ? token : undefined;
  }

  /** Trades a refresh token for a new pair. The old pair dies with it; undefined when it is not, or no longer, good. */
  refresh(refreshText: string, clientId: string): Token | undefined {
    const old = this.#byRefresh.get(refreshText);
    if (!old?.refresh || old.clientId !== clientId || !this.#isBefore(old.refresh.expiresAt))
      return undefined;
    this.#drop(old);
    return this.issueToApp({ personId: old.personId, clientId, scopes: [], expiring: true });
  }

  /** Ends an access token, with its refresh token, by the text of either. @throws when there is none. */
  revoke(text: string): void {
    this.#drop(this.#require(text));
  }

  /** Puts the end of an access or refresh token into the past. @throws when there is none. */
  expire(text: string): void {
    const token = this.#require(text);
    const past = this.#now() - 1000;
    if (token.refresh?.text === text) token.refresh.expiresAt = past;
    else token.expiresAt = past;
  }

  /** Its owner edits what a token may do. @throws when there is none. */
  setScopes(text: string, scopes: readonly string[]): void {
    this.#require(text).scopes = scopes;
  }

  /** Ends every token a person gave an application. */
  revokeGrant(personId: number, clientId: string): void {
    for (const token of [...this.#grant(personId, clientId)]) this.#drop(token);
  }

  /** All scopes a person has given an application so far, normalised. */
  grantedScopes(personId: number, clientId: string): string[] {
    const scopes = [...this.#grant(personId, clientId)].flatMap((token) => token.scopes ?? []);
    return normalizeScopes(scopes);
  }

  clear(): void {
    this.#byText.clear();
    this.#byRefresh.clear();
    this.#byGrant.clear();
  }

  #keep(token: Token): void {
    this.#byText.set(token.text, token);
    if (token.refresh) this.#byRefresh.set(token.refresh.text, token);
    if (token.clientId === null) return;
    const grant = this.#grant(token.personId, token.clientId).add(token);
    this.#byGrant.set(grantKey(token.personId, token.clientId), grant);
  }

  #drop(token: Token): void {
    this.#byText.delete(token.text);
    if (token.refresh) this.#byRefresh.delete(token.refresh.text);
    if (token.clientId !== null) this.#grant(token.personId, token.clientId).delete(token);
  }

  #revokeOldest(newest: Token): void {
    const scopes = String(newest.scopes);
    const grant = this.#grant(newest.personId, String(newest.clientId));
    const alike = [...grant].filter((token) => token.kind === newest.kind && String(token.scopes) === scopes);
    for (const token of alike.slice(0, Math.max(0, alike.length - tokensPerGrant))) this.#drop(token);
  }

  #grant(personId: number, clientId: string): Set<Token> {
    return this.#byGrant.get(grantKey(personId, clientId)) ?? new Set();
  }

  #require(text: string): Token {
    const token = this.#byText.get(text) ?? this.#byRefresh.get(text);
    if (!token) throw new Error('the stand-in GitHub has no such token');
    return token;
  }

  #isBefore(end: number | null): boolean {
    return end === null || this.#now() < end;
  }
}

function grantKey(personId: number, clientId: string): string {
  return `${personId} ${clientId}`;
}
