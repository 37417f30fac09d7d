// One request exactly as written: fetch() adds headers of its own, such as Sec-Fetch-Mode, and forbids others.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { noteErrorBody } from './secrecy/watch.ts';

/** On answers of the gateway itself. */
export const REFUSED = 'x-gateway-intercepted-response';

export interface SendOptions {
  readonly method?: string;
  /** Names and values in turn, or an object. */
  readonly headers?: readonly string[] | Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
  /** The address the request comes from: any of 127.0.0.0/8. */
  readonly from?: string;
}

export async function send(url: string | URL, options: SendOptions = {}): Promise<Response> {
  const { status, headers, body } = await sendRaw(url, options);
  const noBody = status === 204 || status === 304;
  return new Response(noBody ? null : new Uint8Array(body), { status, headers: headersOf(headers) });
}

/** The same, with the answer's headers exactly as they came. */
export async function sendRaw(
  url: string | URL,
  { method = 'GET', headers = [], body, from }: SendOptions = {},
): Promise<{ status: number; headers: readonly string[]; body: Buffer }> {
  const target = new URL(url);
  const given = headerList(headers);
  const path = String(url).slice(target.origin.length) || '/';
  const length = body === undefined ? [] : ['Content-Length', String(Buffer.byteLength(body))];
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest({
      host: target.hostname,
      port: target.port,
      path,
      method,
      headers: ['Host', target.host, ...length, ...given],
      localAddress: from,
      agent: false,
    });
    request.once('response', resolve).once('error', reject).end(body);
  });
  const answer = await buffer(response);
  if (response.headers[REFUSED] !== undefined) noteErrorBody(answer.toString());
  return { status: response.statusCode ?? 0, headers: response.rawHeaders, body: answer };
}

/** Names and values in turn. */
export function headerList(headers: SendOptions['headers'] = []): string[] {
  if (isList(headers)) return [...headers];
  return Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().flatMap((each) => [name, each as string]),
  );
}

function headersOf(raw: readonly string[]): Headers {
  const headers = new Headers();
  for (let at = 0; at < raw.length; at += 2) headers.append(raw[at] as string, raw[at + 1] as string);
  return headers;
}

function isList(headers: NonNullable<SendOptions['headers']>): headers is readonly string[] {
  return Array.isArray(headers);
}
