// Connections that are opened, asked one thing and then held without a word, until stdin ends. The order is the first
// argument; on stdout one line when all are answered, and one when asked (a line on stdin) how many are still open.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

export interface HeldOrder {
  readonly url: string;
  readonly connections: number;
  readonly cookie: string;
}

const AT_A_TIME = 200;
/** What is not answered by then never will be. */
const ANSWERED_WITHIN_MS = 10_000;
const { url, connections, cookie } = JSON.parse(process.argv[2] ?? '') as HeldOrder;
const { hostname, port, pathname } = new URL(url);
const request = `GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nCookie: ${cookie}\r\n\r\n`;
let open = 0;
let refused = 0;

let left = connections;
await Promise.all(Array.from({ length: AT_A_TIME }, openOneByOne));
tell();
createInterface({ input: process.stdin })
  .on('line', tell)
  .on('close', () => process.exit(0));

function tell(): void {
  process.stdout.write(`${JSON.stringify({ open, refused })}\n`);
}

async function openOneByOne(): Promise<void> {
  while (left-- > 0) await hold();
}

function hold(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const refuse = () => {
      refused++;
      resolve();
    };
    socket.write(request);
    socket.setTimeout(ANSWERED_WITHIN_MS, () => socket.destroy(new Error('No answer came')));
    socket.once('error', refuse);
    socket.once('data', (answer) => {
      socket.setTimeout(0);
      if (!answer.toString('latin1').startsWith('HTTP/1.1 200')) refused++;
      open++;
      socket.off('error', refuse).on('error', () => {});
      socket.once('close', () => open--);
      resolve();
    });
  });
}
