import { expect, inject, test } from 'vitest';
import { createDatabase } from './postgres.ts';
test('x', async () => { console.log(inject('postgresUrl'), inject('redisUrl')); const d = await createDatabase(); console.log(d.url); await d.drop(); expect(1).toBe(1); });
