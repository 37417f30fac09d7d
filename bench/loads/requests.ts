// A load of requests, sent by autocannon in a process of its own: an order on stdin, what was counted on stdout.
import { text } from 'node:stream/consumers';
import autocannon from 'autocannon';

export interface RequestsOrder {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly connections: number;
  /** How many in all. */
  readonly amount: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Cookie headers, in turn: each connection has its own part of them. */
  readonly cookies: readonly string[];
  /** Length of the body. */
  readonly bodyBytes?: number;
}

export interface RequestsCount {
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds, whole ones. */
  readonly p50: number;
  readonly p99: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly errors: number;
  /** Of those errors. */
  readonly timeouts: number;
}

const order = JSON.parse(await text(process.stdin)) as RequestsOrder;
const { url, method, connections, amount, headers = {}, cookies, bodyBytes } = order;
const body = bodyBytes ? { body: Buffer.alloc(bodyBytes, 'x') } : {};
let client = 0;

const result = await autocannon({
  // It looks this often, in ms, whether everything is answered, and is over no sooner.
  sampleInt: 20,
  // Machines that are busy take their time.
  timeout: 60,
  url,
  method,
  connections,
  headers: { ...headers, cookie: cookies[0] ?? '' },
  ...body,
  amount,
  setupClient(each) {
    if (cookies.length > 1) each.setRequests(requestsOf(client++));
  },
});

const statuses = Object.entries(result.statusCodeStats ?? {}).map(([status, { count = 0 }]) => [
  status,
  count,
]);
const count: RequestsCount = {
  requests: result.requests.total,
  seconds: result.duration,
  p50: result.latency.p50,
  p99: result.latency.p99,
  statuses: Object.fromEntries(statuses),
  errors: result.errors,
  timeouts: result.timeouts,
};
process.stdout.write(JSON.stringify(count));

function requestsOf(nth: number) {
  const own = cookies.filter((_, at) => at % connections === nth);
  return own.map((cookie) => ({ method, headers: { ...headers, cookie }, ...body }));
}
