// An upstream that remembers what it was sent, and answers as it is told.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  /** Names and values in turn, exactly as they arrived. */
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface RecordingUpstream {
  readonly url: string;
  readonly seen: SeenRequest[];
  /** Answers the next requests this way; undefined brings the echo back. */
  respond(handler: ((request: IncomingMessage, response: ServerResponse) => void) | undefined): void;
  close(): Promise<void>;
}

/** Echoes method, URL and headers as JSON unless told otherwise. */
export async function startRecordingUpstream(): Promise<RecordingUpstream> {
  const seen: SeenRequest[] = [];
  let respond: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  // Takes what the gateway takes, and more.
  const server = createServer({ maxHeaderSize: 128 * 1024 }, (request, response) => {
    const { method = '', url = '', rawHeaders, headers } = request;
    seen.push({ method, url, rawHeaders, headers });
    if (respond) respond(request, response);
    else echo(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    respond(handler) {
      respond = handler;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const { method, url, headers } = request;
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ method, url, headers }));
}
