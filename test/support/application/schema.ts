// The tables of a Better Hub that is there already, as Prisma made them: quoted camelCase columns, times without a zone
// that are meant as UTC, columns of the application's own, people with the same e-mail.

/** A value of each kind of column the gateway knows nothing of; no row of it may be lost. */
export const APPLICATION_SCHEMA = `
create table "_prisma_migrations" ("id" varchar(36) primary key, "migration_name" varchar(255) not null);
insert into "_prisma_migrations" values ('1', '20250101000000_init');

create table "user" (
  "id" text not null, "name" text not null, "email" text not null, "emailVerified" boolean not null default false,
  "image" text, "createdAt" timestamp(3) not null default current_timestamp, "updatedAt" timestamp(3) not null,
  "githubPat" text, "onboardingDone" boolean not null default false, "aiMessageCount" integer not null default 0,
  "lastActiveAt" timestamp(3), "role" text, "banned" boolean default false, "banReason" text,
  "banExpires" timestamp(3), "stripeCustomerId" text,
  constraint "user_pkey" primary key ("id")
);
create index "user_email_idx" on "user" ("email");

create table "session" (
  "id" text not null, "expiresAt" timestamp(3) not null, "token" text not null,
  "createdAt" timestamp(3) not null default current_timestamp, "updatedAt" timestamp(3) not null, "ipAddress" text,
  "userAgent" text, "userId" text not null, "impersonatedBy" text,
  constraint "session_pkey" primary key ("id"),
  constraint "session_userId_fkey" foreign key ("userId") references "user" ("id") on delete cascade on update cascade
);
create unique index "session_token_key" on "session" ("token");
create index "session_userId_idx" on "session" ("userId");

create table "account" (
  "id" text not null, "accountId" text not null, "providerId" text not null, "userId" text not null,
  "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" timestamp(3),
  "refreshTokenExpiresAt" timestamp(3), "scope" text, "password" text,
  "createdAt" timestamp(3) not null default current_timestamp, "updatedAt" timestamp(3) not null,
  constraint "account_pkey" primary key ("id"),
  constraint "account_userId_fkey" foreign key ("userId") references "user" ("id") on delete cascade on update cascade
);
create index "account_userId_idx" on "account" ("userId");

create table "verification" (
  "id" text not null, "identifier" text not null, "value" text not null, "expiresAt" timestamp(3) not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null default current_timestamp,
  constraint "verification_pkey" primary key ("id")
);
create index "verification_identifier_idx" on "verification" ("identifier");

create table "pinned_repo" (
  "id" serial primary key, "userId" text not null references "user" ("id") on delete cascade, "repo" text not null
);
`;
