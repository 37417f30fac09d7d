// Sizes as people write them (64kb, 10mb), in bytes as programs use them.
import * as z from 'zod';

const UNITS = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3, tb: 1024 ** 4 } as const;
const FORM = /^(\d+)(b|kb|mb|gb|tb)$/;
const FAULT = 'must be a size such as 512b, 64kb, 10mb or 1gb';

/** Accepts `512b`, `64kb`, `10mb`, `1gb`, `1tb` (1kb is 1024 bytes); gives bytes. */
export const sizeSchema = z
  .string({ error: FAULT })
  .regex(FORM, { error: FAULT, abort: true })
  .transform(toBytes)
  .refine((value) => Number.isSafeInteger(value), { error: 'must be less than 8192tb' });

function toBytes(text: string): number {
  const [, count, unit] = FORM.exec(text) ?? [];
  return Number(count) * UNITS[unit as keyof typeof UNITS];
}
