// What is wrong with a configuration: every fault at once, each with its place and what is allowed.

/** One thing to mend. `place` is `file:line:column` or `environment NAME`. */
export interface Fault {
  place: string;
  message: string;
}

/** Thrown before anything is opened; its message is meant for the terminal. */
export class ConfigError extends Error {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    super(report(faults));
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

function report(faults: readonly Fault[]): string {
  const lines = faults.map(({ place, message }) => `  ${place}  ${message}`);
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
  return [`The configuration has ${count}:`, ...lines].join('\n');
}
