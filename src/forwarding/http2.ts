// The lane of upstreams that speak HTTP/2: @fastify/http-proxy carries the request, over connections of ours. What it
// would do by itself is taken out of its hands where that would break a promise of the gateway:
// - it parses and re-spells the path, copies the client's headers, sends GETs again: so path, headers and body do not
//   go by it, and nothing is sent again but what the target refused to look at (http2-exchange.ts);
// - its own HTTP/2 outlives the client, drops the body of a GET, takes cut answers for whole ones, and an error of its
//   connection ends the process: so it is given dispatchers of ours (http2-dispatcher.ts);
// - it logs each failure with the upstream's address: so failures are told to the exchange alone.
import httpProxy, { type FastifyHttpProxyOptions } from '@fastify/http-proxy';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify';
import { type Dispatcher, errors } from 'undici';
import { GatewayError } from '../errors.ts';
import type { Abort, AnswerHandler, Carry, OutgoingRequest } from './exchange.ts';

/** Under which a request's own part hangs on the headers that http-proxy hands on. */
const PASSAGE = Symbol('passage');

/** Lets replies of the scope be sent over HTTP/2. To be called in the scope of the route that does: see below. */
export async function addHttp2Lane(scope: FastifyInstance): Promise<void> {
  // Called, not registered: http-proxy would keep `reply.from` to a scope with routes of its own.
  await (httpProxy as unknown as FastifyPluginAsync<FastifyHttpProxyOptions>)(scope, {
    upstream: 'http://upstream.invalid',
    routes: [],
    proxyPayloads: false,
    disableCache: true,
    disableRequestLogging: true,
    undici: { request: carry } as unknown as Dispatcher,
  });
}

/** For forward(): sends one request by way of http-proxy. */
export function overHttp2(reply: FastifyReply): Carry {
  return (request, handler, dispatcher) => {
    if (request.isUpgrade) {
      handler.onError(new GatewayError('websocket-unsupported'));
      return () => {};
    }
    const passage = new Passage(request, handler, dispatcher);
    reply.from('/', {
      rewriteRequestHeaders: () => ({ [PASSAGE]: passage }) as never,
      rewriteHeaders: () => ({}),
      retryDelay: () => null,
      onResponse: () => passage.receive(),
    });
    return passage.abort;
  };
}

function carry({ headers }: Carried, callback: Callback): void {
  headers[PASSAGE].send(callback);
}

type Callback = (error: Error | null, answer?: Dispatcher.ResponseData) => void;

interface Carried {
  readonly headers: { readonly [PASSAGE]: Passage };
}

class Passage {
  readonly #request: OutgoingRequest;
  readonly #handler: AnswerHandler;
  readonly #dispatcher: Dispatcher;
  readonly #ended = new AbortController();
  #answer: Dispatcher.ResponseData | null = null;

  constructor(request: OutgoingRequest, handler: AnswerHandler, dispatcher: Dispatcher) {
    this.#request = request;
    this.#handler = handler;
    this.#dispatcher = dispatcher;
  }

  abort: Abort = (reason) => this.#ended.abort(reason);

  send(callback: Callback): void {
    const { method, path, headers, identity, body } = this.#request;
    const options = {
      ...{ method: method as Dispatcher.HttpMethod, path, headers: [...headers, ...identity.list] },
      ...{ body: null, upload: body },
      responseHeaders: 'raw' as const,
      // undici heeds a signal only once the request is on a connection; the exchange heeds it while it waits for one.
      signal: this.#ended.signal,
      aborted: this.#ended.signal,
      onSending: () => {
        if (!this.#handler.onSending()) this.abort(new errors.RequestAbortedError());
      },
    };
    this.#dispatcher.request(options, (error, answer) => {
      if (error !== null) return this.#handler.onError(error);
      this.#answer = answer;
      answer.body.on('error', (fault) => this.#handler.onError(fault));
      callback(null, answer);
    });
  }

  /** Called by http-proxy with the answer's head. Must not throw: undici lets that end the process. */
  receive(): void {
    const { statusCode, headers, body } = this.#answer as Dispatcher.ResponseData;
    const rawHeaders = headers as unknown as string[];
    try {
      const goesOn = this.#handler.onHeaders(statusCode, rawHeaders, () => body.resume());
      body.on('data', (chunk: Buffer) => {
        if (this.#handler.onData(chunk) === false) body.pause();
      });
      if (goesOn === false) body.pause();
      body.once('end', () => this.#handler.onComplete());
    } catch (error) {
      this.abort(error as Error);
    }
  }
}
