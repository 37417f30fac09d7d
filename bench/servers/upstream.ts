// As cheap as an HTTP answer of 1 KB can be.
import { createServer } from 'node:http';
import { listenAndTell } from './listen.ts';

const body = Buffer.alloc(1024, 'x');
const headers = { 'content-type': 'text/plain', 'content-length': String(body.length) };

listenAndTell(createServer((_request, response) => response.writeHead(200, headers).end(body)));
