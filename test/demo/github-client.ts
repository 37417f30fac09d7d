import { createHash } from 'node:crypto';
import { request } from 'node:http';
import {
  type StandInGitHub,
  type StandInGitHubOptions,
  startStandInGitHub,
} from '../../src/demo/github/server.ts';

export const callback = 'http://127.0.0.1:8080/api/auth/callback/github';
export const verifier = 'a-verifier-of-at-least-forty-three-characters-in-all';
export const challenge = createHash('sha256').update(verifier).digest('base64url');

/** Starts a stand-in that ends with the test, pass or fail. */
export async function usingGitHub(options?: StandInGitHubOptions) {
  const github = await startStandInGitHub(options);
  return Object.assign(github, { [Symbol.asyncDispose]: () => github.close() });
}

/** The address an application sends somebody to, with these parameters changed; undefined leaves one out. */
export function authorizeUrl(
  github: StandInGitHub,
  changes: Record<string, string | undefined> = {},
): string {
  const url = new URL('/login/oauth/authorize', github.url);
  const parameters = { client_id: github.app.clientId, redirect_uri: callback, state: 'xyz', ...changes };
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
}

/** The code octocat's approval brings back. */
export async function approvedCode(
  github: StandInGitHub,
  changes: Record<string, string> = {},
): Promise<string> {
  const location = await github.control.authorize({ url: authorizeUrl(github, changes), login: 'octocat' });
  return new URL(location).searchParams.get('code') ?? '';
}

export interface TokenAnswer {
  status: number;
  body: Record<string, string | number | undefined>;
}

/** Posts to the token endpoint as JSON, with the right client credentials unless changed. */
export async function askToken(github: StandInGitHub, parameters: object): Promise<TokenAnswer> {
  const { clientId, clientSecret } = github.app;
  const response = await fetch(`${github.url}/login/oauth/access_token`, {
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/json' },
    body: JSON.stringify({ client_id: clientId, client_secret: clientSecret, ...parameters }),
  });
  return { status: response.status, body: (await response.json()) as TokenAnswer['body'] };
}

/** Goes the whole way of a sign-in and returns what the token endpoint answered. */
export async function obtainToken(github: StandInGitHub, scope = 'user:email') {
  const { body } = await askToken(github, { code: await approvedCode(github, { scope }) });
  return { access: String(body.access_token), refresh: String(body.refresh_token), body };
}

export async function askApi(github: StandInGitHub, path: string, token: string): Promise<Response> {
  return fetch(`${github.apiUrl}${path}`, { headers: { authorization: `Bearer ${token}` } });
}

/** Calls `/applications/…` with the client's own credentials, or with others. */
export async function askAsApp(
  github: StandInGitHub,
  method: 'POST' | 'DELETE',
  path: 'token' | 'grant',
  body: object,
  secret: string = github.app.clientSecret,
): Promise<Response> {
  const credentials = Buffer.from(`${github.app.clientId}:${secret}`).toString('base64');
  return fetch(`${github.apiUrl}/applications/${github.app.clientId}/${path}`, {
    method,
    headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

/** A GET with these headers and no others: fetch always adds a User-Agent. */
export function bareStatus(url: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on('error', reject);
    sent.end();
  });
}
