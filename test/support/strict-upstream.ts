// An upstream that reads HTTP by the letter of RFC 9112, from bare bytes: whatever a lenient server might take for
// something else is a violation here. It never trusts Node's own parser, which the gateway uses.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface StrictRequest {
  readonly method: string;
  readonly target: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface StrictUpstream {
  readonly url: string;
  /** Complete requests only. */
  readonly seen: StrictRequest[];
  /** What was no HTTP, in words. */
  readonly violations: string[];
  close(): Promise<void>;
}

/** Answers every complete request with 200 and the values of its X-Run and target. */
export async function startStrictUpstream(): Promise<StrictUpstream> {
  const seen: StrictRequest[] = [];
  const violations: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}).once('close', () => sockets.delete(socket)));
    let rest = '';
    socket.on('data', (data) => {
      rest += data.toString('latin1');
      try {
        for (let read = readRequest(rest); read !== null; read = readRequest(rest)) {
          rest = rest.slice(read.length);
          seen.push(read.request);
          socket.write(answerTo(read.request), 'latin1');
        }
      } catch (error) {
        violations.push(`${(error as Error).message}: ${JSON.stringify(rest.slice(0, 2000))}`);
        socket.destroy();
      }
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    violations,
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

function answerTo({ method, target, headers }: StrictRequest): string {
  const body = JSON.stringify({ run: headers.get('x-run') ?? null, target });
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`;
  return method === 'HEAD' ? head : head + body;
}

interface Read {
  readonly request: StrictRequest;
  readonly length: number;
}

/** @returns null while it is not complete. @throws when it is no HTTP */
function readRequest(text: string): Read | null {
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const [line = '', ...fields] = text.slice(0, end).split('\r\n');
  const [, method, target] = /^([!#$%&'*+.^_`|~\dA-Za-z-]+) (\/[!-~]*) HTTP\/1\.1$/.exec(line) ?? [];
  if (method === undefined || target === undefined) throw new Error('no request line');
  const headers = readFields(fields);
  const body = readBody(text, end + 4, headers);
  return body && { request: { method, target, headers, body: body.text }, length: body.end };
}

const FIELD = /^([!#$%&'*+.^_`|~\dA-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)$/;
const ONCE = new Set(['host', 'content-length', 'transfer-encoding', 'content-type', 'authorization']);

function readFields(lines: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ''] = FIELD.exec(line) ?? [];
    if (name === undefined) throw new Error(`no field ${JSON.stringify(line)}`);
    const lower = name.toLowerCase();
    if (headers.has(lower) && ONCE.has(lower)) throw new Error(`two of ${lower}`);
    headers.set(lower, value);
  }
  if (!headers.has('host')) throw new Error('no host');
  return headers;
}

function readBody(text: string, start: number, headers: ReadonlyMap<string, string>) {
  const length = headers.get('content-length');
  const encoding = headers.get('transfer-encoding');
  if (length !== undefined && encoding !== undefined) throw new Error('a length and an encoding');
  if (encoding !== undefined) {
    if (encoding !== 'chunked') throw new Error(`the encoding ${encoding}`);
    return readChunks(text, start);
  }
  if (length === undefined) return { text: '', end: start };
  if (!/^\d+$/.test(length)) throw new Error(`the length ${length}`);
  const end = start + Number(length);
  return text.length < end ? null : { text: text.slice(start, end), end };
}

function readChunks(text: string, start: number) {
  let body = '';
  for (let at = start; ; ) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd === -1) return null;
    const size = text.slice(at, lineEnd);
    if (!/^[\da-f]+$/i.test(size)) throw new Error(`the chunk size ${size}`);
    const from = lineEnd + 2;
    const to = from + Number.parseInt(size, 16);
    if (text.length < to + 2) return null;
    if (text.slice(to, to + 2) !== '\r\n') throw new Error('no end of a chunk, or a trailer');
    if (to === from) return { text: body, end: to + 2 };
    body += text.slice(from, to);
    at = to + 2;
  }
}
