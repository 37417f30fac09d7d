// The smallest OpenID provider that signs one person in: for gateways that speak OpenID Connect.
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { listenAndTell } from './listen.ts';

const KEY_ID = 'bench';
const PERSON = { sub: 'octocat', name: 'Octo Cat', email: 'octocat@example.com', email_verified: true };
const LIFE_SECONDS = 24 * 60 * 60;

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
/** What was asked for when a code was given out. */
const asked = new Map<string, { clientId: string; nonce: string | null }>();

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
});
listenAndTell(server);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const url = new URL(request.url ?? '/', issuer());
  if (url.pathname === '/authorize') return response.writeHead(302, { location: withCode(url) }).end();
  const body = await answerTo(url.pathname, request);
  const status = body === null ? 404 : 200;
  return response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function answerTo(path: string, request: IncomingMessage): Promise<unknown> {
  if (path === '/.well-known/openid-configuration') return metadata();
  if (path === '/jwks')
    return { keys: [{ ...publicKey.export({ format: 'jwk' }), ...keyHead(), use: 'sig' }] };
  if (path === '/token') return tokens(new URLSearchParams(await text(request)));
  return path === '/userinfo' ? PERSON : null;
}

function issuer(): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function metadata() {
  const at = (path: string) => `${issuer()}${path}`;
  return {
    issuer: issuer(),
    authorization_endpoint: at('/authorize'),
    token_endpoint: at('/token'),
    userinfo_endpoint: at('/userinfo'),
    jwks_uri: at('/jwks'),
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  };
}

/** Asks nobody anything: who comes here is signed in. */
function withCode(url: URL): string {
  const code = randomUUID();
  const { searchParams } = url;
  asked.set(code, { clientId: searchParams.get('client_id') ?? '', nonce: searchParams.get('nonce') });
  const back = new URL(searchParams.get('redirect_uri') ?? '');
  back.searchParams.set('code', code);
  back.searchParams.set('state', searchParams.get('state') ?? '');
  return back.href;
}

function tokens(form: URLSearchParams) {
  const question = asked.get(form.get('code') ?? '');
  if (!question) throw new Error('unknown code');
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    ...PERSON,
    ...{ iss: issuer(), aud: question.clientId, iat: now, exp: now + LIFE_SECONDS },
    ...(question.nonce === null ? {} : { nonce: question.nonce }),
  };
  return {
    access_token: randomUUID(),
    token_type: 'Bearer',
    expires_in: LIFE_SECONDS,
    id_token: signed(claims),
  };
}

function keyHead() {
  return { kid: KEY_ID, alg: 'RS256' };
}

function signed(claims: object): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const content = `${encode({ ...keyHead(), typ: 'JWT' })}.${encode(claims)}`;
  return `${content}.${sign('sha256', Buffer.from(content), privateKey).toString('base64url')}`;
}
