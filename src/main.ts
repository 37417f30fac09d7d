// The process edge: the only file that touches process.*. Every command of the CLI is here.
import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { Command } from 'commander';
import { ConfigError } from './config/faults.ts';
import { type GatewayConfig, loadConfig } from './config/load.ts';
import { configJsonSchema } from './config/schema.ts';
import { DataFolderBusy } from './database/file-lock.ts';
import { type MigrationPlan, MigrationRefused } from './database/migrate.ts';
import { startSampleApi } from './demo/api.ts';
import { startDemo } from './demo/demo.ts';
import { migrateStore, rotateStoredKeys } from './gateway/commands.ts';
import { createGateway } from './gateway.ts';
import { createWorkersAdmin, workersLogger } from './workers/operate.ts';
import { answerSupervisor, leaveSupervisor, tellSupervisor } from './workers/questions.ts';
import type { MetricReading } from './workers/readings.ts';
import { Supervisor, WorkerFailed } from './workers/supervisor.ts';

/** Longest an orderly end may take before the process leaves anyway. */
const GRACE_MS = 10_000;
/** Signals that follow the first within this time are the same one, on another way. */
const ECHO_MS = 500;
/** How much longer than its workers the supervisor waits. */
const SUPERVISED_MS = 1000;

/** Refused logins, unknown databases and connections that nobody takes: SQLSTATE classes 28, 3D, 57 and the socket's. */
const DATABASE_CODES = /^(28...|3D...|57...|ECONNREFUSED|ENOTFOUND|ETIMEDOUT)$/;
/** SQLSTATE insufficient_privilege. */
const NOT_ALLOWED = '42501';
/** SQLSTATE lock_not_available. */
const LOCKED = '55P03';

const program = new Command('gateway').description(
  'The gateway in front of HTTP services whose users sign in with GitHub',
);

program
  .command('start', { isDefault: true })
  .description('run the gateway that GATEWAY_CONFIG and the environment describe')
  .action(async () => {
    const config = loadConfig(process.env);
    tuneV8();
    if (cluster.worker) await runWorker(config, cluster.worker.id);
    else if (config.workers > 1) await supervise(config);
    else {
      const gateway = await createGateway(config);
      endWithProcess(() => gateway.close());
      await gateway.listen({ host: config.host, port: config.port });
    }
  });

program
  .command('migrate')
  .description('make the tables the gateway needs, in the database of DATABASE_URL or the embedded file')
  .option('--no-triggers', 'for a database one may not alter: changes by other writers are then felt late')
  .option('--dry-run', 'print the SQL and change nothing')
  .action(async ({ triggers, dryRun = false }: { triggers: boolean; dryRun?: boolean }) => {
    const config = loadConfig(process.env);
    if (dryRun && config.databaseUrl === null)
      return say('-- The embedded file is the gateway’s own: its tables are made at every start.');
    const onPlan = (plan: MigrationPlan) => say(dryRun ? sqlOf(plan) : describePlan(plan));
    const created = await migrateStore(config, { triggers, dryRun, onPlan });
    if (created.length > 0) say(`Tables made: ${created.join(', ')}.`);
  });

program
  .command('rotate-keys')
  .description('re-encrypt every stored GitHub token with the first of GITHUB_TOKEN_KEYS, while gateways run')
  .action(async () => {
    const { rotated, unreadable } = await rotateStoredKeys(loadConfig(process.env), ({ done, total }) =>
      say(`${done} of ${total} accounts.`),
    );
    say(`${rotated} accounts were written anew.`);
    if (unreadable === 0) return say('Tokens need no other key or secret any longer.');
    const advice =
      'Add the key they were written with to GITHUB_TOKEN_KEYS, or let those people sign in again.';
    process.stderr.write(`${unreadable} accounts hold tokens that no key opens. ${advice}\n`);
    process.exitCode = 1;
  });

program
  .command('secret')
  .description('print a new BETTER_AUTH_SECRET')
  .action(() => say(randomBytes(32).toString('base64url')));

program
  .command('schema')
  .description('print the JSON Schema of the configuration file')
  .action(() => say(JSON.stringify(configJsonSchema(), null, 2)));

program
  .command('demo')
  .description('run the gateway with a stand-in GitHub and a sample API, in a fresh data folder')
  .action(async () => {
    const demo = await startDemo(process.env, say);
    endWithProcess(() => demo.close());
  });

program
  .command('sample-api')
  .description('run the sample API of the demo by itself, at HOST and PORT (3000); it asks GITHUB_API_URL')
  .action(async () => {
    const { HOST, PORT, GITHUB_API_URL } = process.env;
    const api = await startSampleApi(
      GITHUB_API_URL || 'https://api.github.com',
      Number(PORT || 3000),
      HOST || undefined,
    );
    endWithProcess(() => api.close());
    say(JSON.stringify({ name: 'api', url: api.url }));
  });

await program.parseAsync().catch(async (error: unknown) => {
  // One of several says it once for all of them.
  if (cluster.isWorker) await tellSupervisor({ kind: 'failed', message: explain(error) });
  else process.stderr.write(`${explain(error)}\n`);
  process.exit(1);
});

/**
 * What V8 expects of a program, and a gateway does not do.
 *
 * - That objects from one place in the code live as long as the first ones did: it makes the next ones in the old generation
 *   at once. On most starts that is a place every request passes: whatever hangs on such an object then waits for a full
 *   collection, and a quarter of all CPU goes into carrying it along.
 * - That who was quiet for a minute stays so: it shrinks the young generation, and drops the code that was compiled for
 *   objects of which none is left at that moment. The next requests cost twice as much, and those after them a seventh more
 *   for as long as they come.
 */
function tuneV8(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
  setFlagsFromString('--no-memory-reducer-favors-memory');
  setFlagsFromString('--retain-maps-for-n-gc=1000');
}

/** One of several processes on the main port. */
async function runWorker(config: GatewayConfig, worker: number): Promise<void> {
  const gateway = await createGateway(config, { worker });
  const { checkReadiness, upstreams, metrics } = gateway.reports;
  const count = async () => (await metrics.registry.getMetricsAsJSON()) as MetricReading[];
  const end = endWithProcess(async () => {
    await gateway.close();
    await tellSupervisor({ kind: 'counted', metrics: await count() });
    await leaveSupervisor();
  });
  answerSupervisor({ readiness: checkReadiness, upstreams, metrics: count }, end);
  await gateway.listen({ host: config.host, port: config.port });
}

/** All of them, and the operator's port. */
async function supervise(config: GatewayConfig): Promise<void> {
  const supervisor = new Supervisor(config.workers, workersLogger(config.logLevel));
  let isEnding = false;
  const admin = createWorkersAdmin(supervisor, () => isEnding);
  await admin.listen({ host: config.adminHost, port: config.adminPort });
  endWithProcess(async () => {
    isEnding = true;
    await supervisor.close();
    await admin.close();
  }, GRACE_MS + SUPERVISED_MS);
  process.on('SIGHUP', () => void supervisor.renew());
  await supervisor.start();
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function sqlOf({ statements, indexes }: MigrationPlan): string {
  const done =
    statements.length === 0 ? ['-- Nothing to do.'] : ['begin;', ...statements.map(ended), 'commit;'];
  return [...done, ...indexes.map((each) => `-- ${adviceOf(each)}`)].join('\n\n');
}

function describePlan({ statements, tables, keeps, triggers, indexes }: MigrationPlan): string {
  const lines = [
    statements.length === 0 && 'Everything is there already.',
    tables.length > 0 && `Will make the tables ${tables.join(', ')}.`,
    triggers && 'Will install the triggers that tell gateways what changed.',
    statements.length > 0 && keeps.length > 0 && `Rows and columns of ${keeps.join(', ')} stay as they are.`,
    ...indexes.map(adviceOf),
  ];
  return lines.filter(Boolean).join('\n');
}

function adviceOf(index: string): string {
  return `An index is missing, without which every new session reads a whole table: ${ended(index)}`;
}

function ended(statement: string): string {
  return `${statement};`;
}

/** Faults of the operator's making are told in words; anything else is ours, with its stack. */
function explain(error: unknown): string {
  if (error instanceof WorkerFailed) return error.message;
  if (error instanceof ConfigError || error instanceof DataFolderBusy || error instanceof MigrationRefused)
    return error.message;
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE' || code === 'EACCES' || code === 'EADDRNOTAVAIL')
    return `Cannot listen: ${message}. HOST and PORT, ADMIN_HOST and ADMIN_PORT say where.`;
  if (code === NOT_ALLOWED)
    return `The role in DATABASE_URL may not do that (${message}): name the owner of the tables in DATABASE_DIRECT_URL.`;
  if (code === LOCKED)
    return 'A table is in use by a long transaction; nothing was changed. Try again later.';
  if (code !== undefined && DATABASE_CODES.test(code))
    return `The database cannot be used (${message || code}): check DATABASE_URL.`;
  if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'EROFS')
    return `DATA_DIR cannot be used: ${message}.`;
  return stack ?? String(error);
}

/** @returns what ends the process as a signal does */
function endWithProcess(close: () => Promise<unknown>, graceMs = GRACE_MS): () => void {
  let endingSince: number | null = null;
  const begin = () => {
    if (endingSince !== null) return;
    endingSince = performance.now();
    setTimeout(() => process.exit(1), graceMs).unref();
    close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  const onSignal = () => {
    // A second Ctrl-C means now. npm and bin.js pass on the first, which the terminal sent to this process already.
    if (endingSince !== null && performance.now() - endingSince > ECHO_MS) process.exit(1);
    begin();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return begin;
}
