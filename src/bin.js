#!/usr/bin/env node
// The `gateway` command for whoever calls it directly: an older Node hands over to the Node 24 among the dependencies.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const main = new URL('./main.ts', import.meta.url);

if (Number(process.versions.node.split('.', 1)[0]) >= 24) {
  await import(main.href);
} else {
  const child = spawn(newerNode(), [fileURLToPath(main), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
}

function newerNode() {
  try {
    return createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
  } catch {
    process.stderr.write(`The gateway needs Node 24 or newer; this is Node ${process.versions.node}.\n`);
    process.exit(1);
  }
}
