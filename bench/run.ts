// One run: contenders started, every scenario put to each of them in rounds, everything ended.
import type { Contender, Running } from './contender.ts';
import { headOf } from './head.ts';
import type { Round } from './measure.ts';
import type { Results } from './results.ts';
import type { Bench, MeasureRound, Scenario, Sizes } from './scenario.ts';
import { startSurroundings } from './surroundings.ts';

export interface RunOptions {
  readonly sizes: Sizes;
  readonly scenarios: readonly Scenario[];
  readonly onProgress: (line: string) => void;
}

interface Subject {
  readonly scenario: Scenario;
  readonly running: Running;
  readonly contender: string;
  readonly measureRound: MeasureRound;
  readonly rounds: Round[];
}

/** Ends what it has started, whatever happens. `opened` is the caller's, so that a signal can end it, too. */
export async function run(
  { sizes, scenarios, onProgress }: RunOptions,
  opened: AsyncDisposableStack,
): Promise<Results> {
  const surroundings = await startSurroundings(opened, sizes.manySessions);
  const bench: Bench = { surroundings, sizes };
  const { running, leftOut } = await startAll(bench, scenarios, onProgress);
  const subjects: Subject[] = [];
  for (const scenario of scenarios) subjects.push(...(await begin(bench, scenario, running)));
  const failed = await inRounds(subjects, sizes, onProgress);
  const measured = subjects.map(({ scenario, contender, rounds }) => ({
    scenario: scenario.name,
    contender,
    rounds,
  }));
  return { head: headOf(sizes), measured, leftOut, failed };
}

async function startAll(bench: Bench, scenarios: readonly Scenario[], onProgress: (line: string) => void) {
  const running = new Map<string, Running>();
  const leftOut: { name: string; why: string }[] = [];
  for (const contender of new Set(scenarios.flatMap((scenario) => scenario.contenders))) {
    const why = contender.missing?.() ?? (await start(bench, contender, running));
    if (why !== null) leftOut.push({ name: contender.name, why });
    onProgress(why === null ? `started: ${contender.name}` : `left out: ${contender.name} ${why}`);
  }
  return { running, leftOut };
}

/** @returns why it does not run, or null */
async function start(
  { surroundings }: Bench,
  contender: Contender,
  running: Map<string, Running>,
): Promise<string | null> {
  try {
    running.set(contender.name, await contender.start(surroundings));
    return null;
  } catch (error) {
    if (!contender.mayRefuse) throw error;
    return (error as Error).message.split('\n').at(-1)?.trim() ?? '';
  }
}

/** A scenario is begun for those of its contenders that run. */
async function begin(
  bench: Bench,
  scenario: Scenario,
  all: ReadonlyMap<string, Running>,
): Promise<Subject[]> {
  const names = scenario.contenders.map(({ name }) => name);
  const runnings = new Map([...all].filter(([name]) => names.includes(name)));
  if (runnings.size === 0) return [];
  const measureRound = await scenario.begin(bench, runnings);
  return names.flatMap((contender) => {
    const running = runnings.get(contender);
    return running ? [{ scenario, contender, running, measureRound, rounds: [] }] : [];
  });
}

/** Everybody once, and again: a busy minute of the machine hits all of them. @returns the rounds that failed */
async function inRounds(subjects: readonly Subject[], sizes: Sizes, onProgress: (line: string) => void) {
  const failed: { name: string; why: string }[] = [];
  for (let round = 0; round <= sizes.rounds; round++) {
    const startedAt = performance.now();
    for (const subject of subjects) {
      if (round > (subject.scenario.rounds?.(sizes) ?? sizes.rounds)) continue;
      const why = await measureInto(subject, round);
      if (why === null) continue;
      const name = `${subject.scenario.name}: ${subject.contender}, round ${round}`;
      failed.push({ name, why });
      onProgress(`failed: ${name}: ${why}`);
    }
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    onProgress(`${round === 0 ? 'warm-up' : `round ${round} of ${sizes.rounds}`}: ${seconds} s`);
  }
  return failed;
}

/** A round that fails is told and has no figures; the others go on. @returns why it failed, or null */
async function measureInto(
  { running, measureRound, rounds }: Subject,
  round: number,
): Promise<string | null> {
  try {
    const measured = await measureRound(running, round);
    if (round > 0) rounds.push(measured);
    return null;
  } catch (error) {
    if (round > 0) rounds.push({});
    return (error as Error).message;
  }
}
