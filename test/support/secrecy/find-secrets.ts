// Is a secret in a text, as it is or in a spelling anyone can undo? Pure, and in time that grows with the text alone: whole
// test runs are searched.

export interface Secrets {
  /** Secrets of configurations, by what they are: there are few of them. */
  readonly fixed: ReadonlyMap<string, string>;
  /** Session tokens: there are many, of 32 characters. */
  readonly sessions: ReadonlySet<string>;
}

/** What was found, and where it begins; never the whole secret. */
export interface Hit {
  readonly kind: string;
  readonly excerpt: string;
}

const GITHUB_TOKEN = /(?:gh[opsru]_|github_pat_)[A-Za-z0-9_]{16,}/g;
/**
 * A token encrypted by us. Among millions of its letters some would look like a token by chance. What stands before it may be
 * another column: in the embedded file nothing is between them.
 */
const ENCRYPTED = /v1\.[\w-]+\.[\w-]{16}\.[\w-]{22}\.[\w-]+/g;
/** Of what is kept in Redis; see sessions/shared.ts. By chance it looks like a token just as well, but is longer than one. */
const SEAL = /(?<![\w-])[\w-]{43}\.(?=\{)/g;
const SIGNED_COOKIE = /\b([A-Za-z0-9]{32})\.[A-Za-z0-9+/]{43}=/g;
const TOKEN_LENGTH = 32;
/** Long enough to hold a secret of 16 bytes or more. */
const ENCODED = /[A-Za-z0-9+/_-]{24,}/g;
const LONGEST_ENCODED = 100_000;

/** @param inSessionTable session tokens may stand in the text: it holds Better Auth's own table */
export function findSecrets(text: string, secrets: Secrets, inSessionTable = false): Hit[] {
  const readable = text.replace(ENCRYPTED, '').replace(SEAL, '');
  const plain = readable.includes('%') ? `${readable}\n${undoPercents(readable)}` : readable;
  return [plain, decoded(plain)].flatMap((view) => findPlain(view, secrets, inSessionTable));
}

function findPlain(text: string, { fixed, sessions }: Secrets, inSessionTable: boolean): Hit[] {
  const hits: Hit[] = [];
  // What a test has put into a table itself says so.
  for (const [token] of text.matchAll(GITHUB_TOKEN))
    if (!inSessionTable || !/plaintext/i.test(token)) hits.push(hit('GitHub token', token));
  for (const [cookie, token = ''] of text.matchAll(SIGNED_COOKIE))
    if (sessions.has(token)) hits.push(hit('session cookie', cookie));
  for (const [secret, kind] of fixed) {
    const hex = Buffer.from(secret).toString('hex');
    for (const spelling of [secret, hex]) if (text.includes(spelling)) hits.push(hit(kind, spelling));
  }
  if (inSessionTable) return hits;
  for (const token of tokensIn(text, sessions)) hits.push(hit('session token', token));
  return hits;
}

function* tokensIn(text: string, sessions: ReadonlySet<string>): Generator<string> {
  for (const [word] of text.matchAll(/[A-Za-z0-9]{32,}/g))
    for (let at = 0; at + TOKEN_LENGTH <= word.length; at++) {
      const part = word.slice(at, at + TOKEN_LENGTH);
      if (sessions.has(part)) yield part;
    }
}

/** Whatever could be base64, of either alphabet, read at each of the places where it may begin inside something longer. */
function decoded(text: string): string {
  const parts: string[] = [];
  for (const [word] of text.matchAll(ENCODED))
    for (let at = 0; at < 4; at++)
      parts.push(Buffer.from(word.slice(at, LONGEST_ENCODED), 'base64').toString('latin1'));
  return parts.join('\n');
}

function undoPercents(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_all, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function hit(kind: string, found: string): Hit {
  return { kind, excerpt: `${found.slice(0, 8)}… (${found.length} characters)` };
}
