// npm run bench: the process edge. What does a request cost, and are the bounds held?
import { CommanderError } from 'commander';
import { choose, labelOf, type Order, readArguments } from './arguments.ts';
import { BOUNDS, EQUALS, STATED } from './bounds.ts';
import { checkBounds } from './check.ts';
import { moveTo } from './cores.ts';
import { deploymentReport, loadDeployment } from './deployment.ts';
import { readResults, writeReport, writeResults } from './files.ts';
import { markdown, verdictLines } from './report.ts';
import { run } from './run.ts';
import { FULL, QUICK } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';

const order = orderOf(process.argv.slice(2));
if (order.kind === 'deployment') say(deploymentReport(await loadDeployment(order)));
else if (order.kind === 'report') await reportAnew();
else await measureAll(order);

async function measureAll({ quick, only, check }: Extract<Order, { kind: 'run' }>): Promise<void> {
  const bounded = boundedLabels();
  const text = only.toLowerCase();
  const scenarios = choose(
    SCENARIOS,
    (label) => label.toLowerCase().includes(text) && (!check || bounded.has(label)),
  );
  if (scenarios.length === 0) return giveUp(`Nothing has "${only}" in its name.`);
  // The bench itself, and what it starts without saying where, keeps away from the server's core.
  moveTo('load', process.pid);
  await using opened = new AsyncDisposableStack();
  endWithSignals(opened);
  const onProgress = (line: string) => void process.stderr.write(`${line}\n`);
  const results = await run({ sizes: quick ? QUICK : FULL, scenarios, onProgress }, opened);
  if (check) {
    const verdicts = checkBounds(results);
    say(verdictLines(verdicts));
    for (const { name, why } of results.leftOut) say(`not measured: ${name} ${why}`);
    for (const { name, why } of results.failed) say(`failed: ${name}: ${why}`);
    if (results.failed.length > 0 || verdicts.some(({ outcome }) => outcome === 'missed'))
      process.exitCode = 1;
    return;
  }
  say(markdown(results));
  if (!quick && only === '') await writeResults(results);
}

async function reportAnew(): Promise<void> {
  const results = await readResults();
  if (!results) return giveUp('No results are kept yet.');
  await writeReport(results);
}

function orderOf(args: readonly string[]): Order {
  try {
    return readArguments(args);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) process.stderr.write(`${error.message}\n`);
    process.exit(error.exitCode);
  }
}

function boundedLabels(): Set<string> {
  const places = [...BOUNDS.flatMap(({ of, to }) => (to ? [of, to] : [of])), ...STATED];
  const equals = [...EQUALS.cpuMicros, ...EQUALS.latency];
  return new Set([...places, ...equals].map(({ scenario, contender }) => labelOf(scenario, contender)));
}

/** What was started ends with the bench, when it is interrupted, too. */
function endWithSignals(opened: AsyncDisposableStack): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => opened.disposeAsync().finally(() => process.exit(1)));
}

function giveUp(why: string): void {
  process.stderr.write(`${why}\n`);
  process.exitCode = 1;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
