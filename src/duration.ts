// Durations as people write them (2s, 5m), in milliseconds as programs use them.
import * as z from 'zod';

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const FORM = /^(\d+)(ms|s|m|h|d)$/;

/** Accepts `500ms`, `2s`, `15m`, `1h`, `7d`; gives milliseconds. */
export const durationSchema = z
  .string({ error: 'must be a duration such as 500ms, 2s, 5m or 1h' })
  .regex(FORM, { error: 'must be a duration such as 500ms, 2s, 5m or 1h', abort: true })
  .transform(toMilliseconds)
  .refine((value) => value > 0 && value <= 2_147_483_647, { error: 'must be more than 0 and at most 24d' });

/** A duration in milliseconds, with a default written the way people write it. */
export function duration(byDefault: string) {
  return durationSchema.prefault(byDefault);
}

function toMilliseconds(text: string): number {
  const [, count, unit] = FORM.exec(text) ?? [];
  return Number(count) * UNITS[unit as keyof typeof UNITS];
}
