import { execFileSync } from 'node:child_process';
import { chown, mkdtemp, realpath, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** The user a server runs as, in the form `spawn` takes; empty for the user of this process. */
export type Account = { uid?: number; gid?: number };

let found: Account | undefined;

/** Postgres refuses to run as root: another user is taken then. */
export function serverAccount(): Account {
  found ??= process.getuid?.() === 0 ? (lookUp('postgres') ?? lookUp('nobody') ?? {}) : {};
  return found;
}

function lookUp(user: string): Account | undefined {
  const id = (option: string) => Number(execFileSync('id', [option, user], { stdio: 'pipe' }));
  try {
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}

/** A fresh folder that belongs to the servers' user and can be reached by it. */
export async function makeServerFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(await reachableTemporaryFolder(), `gateway-${name}-`));
  await giveAway(folder);
  return folder;
}

/** Writes a file only the servers' user may read. */
export async function writeServerFile(file: string, text: string): Promise<void> {
  await writeFile(file, text, { mode: 0o600 });
  await giveAway(file);
}

async function giveAway(path: string): Promise<void> {
  const { uid, gid } = serverAccount();
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
}

async function reachableTemporaryFolder(): Promise<string> {
  const preferred = await realpath(tmpdir());
  if (serverAccount().uid === undefined || (await isPassable(preferred))) return preferred;
  return '/tmp';
}

/** True when every user may pass through the folder and all its parents. */
async function isPassable(folder: string): Promise<boolean> {
  const { mode } = await stat(folder);
  if ((mode & 0o001) === 0) return false;
  return folder === '/' || isPassable(dirname(folder));
}
