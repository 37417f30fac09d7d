// @fastify/http-proxy as its README shows it, no authentication; with room for as many event streams as are held open.
import httpProxy from '@fastify/http-proxy';
import Fastify from 'fastify';
import { endWithStdin, upstreamUrl } from './listen.ts';

const app = Fastify();
await app.register(httpProxy, { upstream: upstreamUrl(), websocket: true, undici: { connections: 2048 } });
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
endWithStdin();
