// The certificates an upstream is known by, and those it knows the gateway by: read once, before anything is opened.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { TlsOptions } from './upstream-options.ts';

/** PEM, as node:tls takes it. */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** @param onFault told of every file that cannot be used: the setting's name, and what is wrong with which file */
export function readTlsFiles(
  options: TlsOptions | undefined,
  onFault: (setting: string, message: string) => void,
): TlsFiles {
  const files: Record<string, string> = {};
  for (const setting of ['ca', 'cert', 'key'] as const) {
    const name = options?.[setting];
    if (name === undefined) continue;
    const fault = read(name, setting, files);
    if (fault !== null) onFault(setting, `${name} ${fault}`);
  }
  if (files.cert !== undefined && files.key !== undefined && !belongTogether(files))
    onFault('key', `${options?.key} is not the private key of ${options?.cert}`);
  return files;
}

function read(name: string, setting: string, files: Record<string, string>): string | null {
  try {
    const text = readFileSync(name, 'utf8');
    if (setting === 'key' ? !text.includes('PRIVATE KEY') : !isCertificate(text))
      return setting === 'key' ? 'holds no private key in PEM' : 'holds no certificate in PEM';
    files[setting] = text;
    return null;
  } catch (error) {
    return `cannot be read (${(error as NodeJS.ErrnoException).code})`;
  }
}

function isCertificate(text: string): boolean {
  try {
    new X509Certificate(text);
    return true;
  } catch {
    return false;
  }
}

function belongTogether(files: TlsFiles): boolean {
  try {
    createSecureContext({ ...files });
    return true;
  } catch {
    return false;
  }
}
