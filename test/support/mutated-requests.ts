// Whole requests of many kinds, and what becomes of them when a few bytes are changed.
import { pick } from './random.ts';

const COOKIES = 'Cookie: theme=dark; better-auth.session_token=x.y; better-auth.session_data.0=z; a="b c"';
const RUN = 'X-Run: @RUN@';

function request(line: string, fields: readonly string[] = [], body = ''): string {
  return [`${line} HTTP/1.1`, 'Host: hub.example.com', RUN, ...fields, '', body].join('\r\n');
}

export const SEEDS: readonly string[] = [
  request('GET /'),
  request('GET /list?a=1&b=%20&c=/../x', ['Accept: text/plain', 'Accept-Encoding: gzip, br']),
  request('GET /caf%C3%A9/%61b/x.css', [COOKIES]),
  request('HEAD /head', ['If-None-Match: "x"', 'Range: bytes=0-9']),
  request('POST /form', ['Content-Type: text/plain', 'Content-Length: 26'], 'GET /smuggled HTTP/1.1\r\n\r\n'),
  request('POST /chunks', ['Transfer-Encoding: chunked'], '5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n'),
  request('PUT /trailers', ['Transfer-Encoding: chunked', 'Trailer: X-T'], '3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n'),
  request('DELETE /x', ['Content-Length: 4'], 'body'),
  request('POST /wait', ['Expect: 100-continue', 'Content-Length: 4'], 'body'),
  request('GET /hop', [
    'Connection: X-Mine, keep-alive',
    'X-Mine: 1',
    'Keep-Alive: timeout=5',
    'TE: trailers',
  ]),
  request('GET /spoof', ['X-Forwarded-User: root', 'X_Forwarded_Email: a@b', 'X-Gateway-Session: 1']),
  request('GET /proxy', ['X-Forwarded-For: 1.2.3.4', 'Forwarded: for=1.2.3.4', 'X-Request-Id: mine']),
  request('OPTIONS /cors', ['Origin: https://a.example', 'Access-Control-Request-Method: PUT']),
  request('POST /private/x', [COOKIES, 'Content-Length: 3', 'Origin: https://evil.example'], 'a=b'),
  request('GET /private/x', ['Authorization: Basic dXNlcjpwYXNz', 'Cookie: a=1', 'Cookie: b=2']),
  request('GET /socket', [
    ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]),
  request('GET /api/auth/get-session', [COOKIES]),
  request(
    'POST /api/auth/pat-signin',
    ['Content-Type: application/json', 'Content-Length: 13'],
    '{"pat":"ghp"}',
  ),
  request('POST /api/auth/sign-out', [COOKIES, 'Content-Length: 2', 'Content-Type: application/json'], '{}'),
  request('GET /api/user-scopes', ['Accept: application/json']),
  ['GET /old HTTP/1.0', RUN, 'Connection: keep-alive', '', ''].join('\r\n'),
  request('GET /one') + request('POST /two', ['Content-Length: 2'], 'ab') + request('GET /three'),
  request('PROPFIND /dav', [`X-Long: ${'x'.repeat(300)}`, 'Depth: 1']),
  request('GET http://hub.example.com/absolute', ['Via: 1.1 a']),
];

/** Bytes that mean something to some parser. */
const MEANINGFUL = [...'\r\n\t \0:;,=/\\%?#.@"\'()[]{}<>0159afzZ-+_\x0b\x7f\x80\xff'];

/** One to four changes in the seed of this number. @param random from 0 up to 1 */
export function mutated(number: number, random: () => number): string {
  let text = SEEDS[number % SEEDS.length] as string;
  for (let left = 1 + Math.floor(random() * 4); left > 0; left--) text = changed(text, random);
  return text;
}

function changed(text: string, random: () => number): string {
  const at = Math.floor(random() * text.length);
  const [before, byte, behind] = [text.slice(0, at), text.charCodeAt(at), text.slice(at + 1)];
  switch (Math.floor(random() * 6)) {
    case 0:
      return before + String.fromCharCode(byte ^ (1 << Math.floor(random() * 8))) + behind;
    case 1:
      return before + String.fromCharCode(Math.floor(random() * 256)) + behind;
    case 2:
      return before + behind;
    case 3:
      return before + pick(MEANINGFUL, random) + text.slice(at);
    case 4:
      return before + pick(MEANINGFUL, random) + behind;
    default: {
      const end = at + Math.floor(random() * 12);
      return text.slice(0, end) + text.slice(at);
    }
  }
}
