// One round of load in a process of its own: prints what autocannon counted as one line of JSON.
import autocannon from 'autocannon';

const [url = '', seconds = '5', headers = '{}'] = process.argv.slice(2);

const result = await autocannon({
  url,
  connections: 64,
  duration: Number(seconds),
  headers: JSON.parse(headers) as Record<string, string>,
});

process.stdout.write(
  JSON.stringify({
    requests: result.requests.total,
    perSecond: result.requests.average,
    p50: result.latency.p50,
    p99: result.latency.p99,
    statuses: result.statusCodeStats,
    errors: result.errors,
  }),
);
