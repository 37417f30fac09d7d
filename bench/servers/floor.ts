// The floor of the platform: node:http and undici's dispatch, headers handed on as they are, no authentication. No
// gateway in Node can do with less than this.
import { createServer, type ServerResponse } from 'node:http';
import { Agent, type Dispatcher } from 'undici';
import { listenAndTell, upstreamUrl } from './listen.ts';

const origin = upstreamUrl();
const agent = new Agent({ pipelining: 1 });
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding']);

const server = createServer({ keepAliveTimeout: 72_000 }, (request, response) => {
  const headers = endToEnd(request.rawHeaders);
  const method = request.method as Dispatcher.HttpMethod;
  const body = method === 'GET' ? null : request;
  agent.dispatch({ origin, path: request.url ?? '/', method, headers, body }, answering(response));
});

function answering(response: ServerResponse): Dispatcher.DispatchHandler {
  return {
    onConnect(abort) {
      response.on('close', () => response.writableFinished || abort());
    },
    onHeaders(status, rawHeaders, resume) {
      response.writeHead(status, endToEnd(rawHeaders.map(String)));
      response.on('drain', resume);
      return true;
    },
    onData: (chunk) => response.write(chunk),
    onComplete: () => response.end(),
    onError: (error) => response.destroy(error),
  };
}

function endToEnd(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string;
    if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push(name, raw[at + 1] as string);
  }
  return kept;
}

listenAndTell(server);
