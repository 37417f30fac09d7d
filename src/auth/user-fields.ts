// Columns of `user` that belong to the application: its pages read them from get-session, and write some with update-user.
import * as z from 'zod';

/** What Better Auth, the gateway or the admin plugin write themselves. */
const OURS = /^(id|name|email|emailVerified|image|role|banned|banReason|banExpires|createdAt|updatedAt)$/;

export const userFieldsSchema = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z_]\w{0,62}$/, 'must be the name of a column')
      .refine((name) => !OURS.test(name), 'is a column of the gateway’s own'),
    z.strictObject({
      type: z.enum(['string', 'number', 'boolean', 'date']).describe('What the column holds.'),
      writable: z.boolean().default(false).describe('People may change it, of themselves, by update-user.'),
    }),
  )
  .default({})
  .describe('Columns the application has added to the table user, told by get-session.');

export type UserFields = z.output<typeof userFieldsSchema>;

/** The same for Better Auth. A database without these columns is refused; see database/migrate.ts. */
export function additionalUserFields(fields: UserFields) {
  return Object.fromEntries(
    Object.entries(fields).map(([name, { type, writable }]) => [
      name,
      { type, required: false, input: writable },
    ]),
  );
}
