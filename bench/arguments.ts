// The command line of the bench.
import { Command, InvalidArgumentError } from 'commander';
import type { DeploymentOptions } from './deployment.ts';
import type { Scenario } from './scenario.ts';

export type Order =
  | { readonly kind: 'run'; readonly quick: boolean; readonly only: string; readonly check: boolean }
  | { readonly kind: 'report' }
  | ({ readonly kind: 'deployment' } & DeploymentOptions);

interface Flags {
  quick: boolean;
  only: string;
  check: boolean;
  report: boolean;
  url?: string;
  cookie?: string;
  method: string;
  header: Record<string, string>;
  connections: number;
  duration: number;
}

const MOST_CONNECTIONS = 1000;
const MOST_SECONDS = 600;

/** @throws CommanderError, with a word, when they make no sense; with exit code 0 after the help that was asked for */
export function readArguments(args: readonly string[]): Order {
  const flags = command()
    .parse([...args], { from: 'user' })
    .opts<Flags>();
  const { url, cookie, method, header, connections, duration, quick, only, check } = flags;
  if (flags.report) return { kind: 'report' };
  if (url === undefined) return { kind: 'run', quick, only, check };
  return {
    ...{ kind: 'deployment', url, method, headers: header, connections, seconds: duration },
    ...(cookie === undefined ? {} : { cookie }),
  } as const;
}

function command(): Command {
  return new Command('npm run bench --')
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .description('What does a request cost? Results go to bench/results/.')
    .option('--quick', 'fewer and shorter rounds: about two minutes, nothing is written', false)
    .option(
      '--only <text>',
      'measure what has this in its name, "scenario: contender"; nothing is written',
      '',
    )
    .option('--check', 'measure what the bounds need, and fail when one is missed', false)
    .option('--report', 'write the tables and charts of the last results anew, README included', false)
    .option('--url <url>', 'put a load on a deployment of your own instead', httpUrl)
    .option('--cookie <cookie>', 'the Cookie header it is sent')
    .option('--method <method>', 'the method it is sent', upperCase, 'GET')
    .option('--header <name: value>', 'a header it is sent; may be given several times', addHeader, {})
    .option('--connections <n>', `connections to it, at most ${MOST_CONNECTIONS}`, upTo(MOST_CONNECTIONS), 10)
    .option('--duration <seconds>', `how long, at most ${MOST_SECONDS}`, upTo(MOST_SECONDS), 10);
}

/** Scenarios with those of their contenders whose `scenario: contender` contains the text. */
export function choose(scenarios: readonly Scenario[], isChosen: (label: string) => boolean): Scenario[] {
  return scenarios
    .map((scenario) => ({
      ...scenario,
      contenders: scenario.contenders.filter(({ name }) => isChosen(labelOf(scenario.name, name))),
    }))
    .filter(({ contenders }) => contenders.length > 0);
}

export function labelOf(scenario: string, contender: string): string {
  return `${scenario}: ${contender}`;
}

function httpUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new InvalidArgumentError('It is not the URL of a server.');
  return text;
}

function upperCase(text: string): string {
  if (!/^[a-z]+$/i.test(text)) throw new InvalidArgumentError('It is not a method.');
  return text.toUpperCase();
}

function addHeader(text: string, known: Record<string, string>): Record<string, string> {
  const [, name, value] = /^([^\s:]+):\s*(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('It is not "name: value".');
  return { ...known, [name]: value };
}

function upTo(most: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!(number > 0 && number <= most)) throw new InvalidArgumentError(`It must be at most ${most}.`);
    return number;
  };
}
