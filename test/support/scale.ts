/** True for `npm run test:full`, which runs every figure at its stated size. */
export const isFullRun = process.env.TEST_FULL === '1';

/** Picks the size of a test: small in `npm test`, the stated one in `npm run test:full`. */
export function scale<T>({ quick, full }: { quick: T; full: T }): T {
  return isFullRun ? full : quick;
}

/** For tests that do a great deal: what else the machine does must not fail them. */
export const UNHURRIED = { timeout: scale({ quick: 120_000, full: 1_800_000 }) };
