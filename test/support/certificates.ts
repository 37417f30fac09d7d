// A certificate authority of the test's own, made by openssl in a folder of its own.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Paths of two files in PEM, and what they hold. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

export interface CertificateAuthority {
  readonly ca: Certificate;
  /** @param names as openssl takes them: `IP:127.0.0.1`, `DNS:example.test`; @param days -1 for an expired one */
  issue(names: string, days?: number): Certificate;
  /** Signed by nobody else. */
  selfSigned(names: string): Certificate;
  /** A file in the same folder. */
  write(name: string, text: string): string;
  remove(): void;
}

export function createAuthority(): CertificateAuthority {
  const dir = mkdtempSync(join(tmpdir(), 'gateway-tls-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const files = (name: string): Certificate => ({
    certFile: join(dir, `${name}.pem`),
    keyFile: join(dir, `${name}.key`),
    cert: readFileSync(join(dir, `${name}.pem`), 'utf8'),
    key: readFileSync(join(dir, `${name}.key`), 'utf8'),
  });
  const sign = (name: string, ...extensions: string[]) =>
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      ...extensions,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
    );
  sign('ca');
  let issued = 0;
  return {
    ca: files('ca'),
    issue(names, days = 2) {
      const name = `issued-${issued++}`;
      openssl('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
      writeFileSync(join(dir, 'names'), `subjectAltName=${names}`);
      const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'];
      openssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        ...by,
        '-days',
        String(days),
        '-extfile',
        'names',
        '-out',
        `${name}.pem`,
      );
      return files(name);
    },
    selfSigned(names) {
      const name = `self-${issued++}`;
      sign(name, '-addext', `subjectAltName=${names}`);
      return files(name);
    },
    write(name, text) {
      const path = join(dir, name);
      writeFileSync(path, text);
      return path;
    },
    remove: () => rmSync(dir, { recursive: true }),
  };
}
