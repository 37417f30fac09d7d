// The floor of the platform: node:http and undici's dispatch, headers handed on as they are, no authentication.
import { createServer } from 'node:http';
import { Agent, type Dispatcher } from 'undici';
import { listenAndTell, upstreamUrl } from './listen.ts';

const origin = upstreamUrl();
const agent = new Agent({ pipelining: 1 });

const server = createServer((request, response) => {
  const headers = request.rawHeaders.filter(
    (_, at, all) => !/^connection$/i.test(all[at - (at % 2)] as string),
  );
  agent.dispatch(
    { origin, path: request.url ?? '/', method: request.method as Dispatcher.HttpMethod, headers },
    {
      onConnect() {},
      onHeaders(status, rawHeaders) {
        const names = rawHeaders.map(String);
        response.writeHead(
          status,
          names.filter((_, at) => !/^(connection|keep-alive)$/i.test(names[at - (at % 2)] as string)),
        );
        return true;
      },
      onData: (chunk) => response.write(chunk),
      onComplete: () => response.end(),
      onError: (error) => response.destroy(error),
    },
  );
});

listenAndTell(server);
