import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TlsMaterial } from "../src/tls.ts";
import { createTestPki, type TestPki } from "./pki.ts";

/** A TestPki whose certificates also lie in files, as servers and services want them. */
export interface TestCa extends Disposable {
  readonly pki: TestPki;
  readonly dir: string;
  readonly caFile: string;
  /** Files `<name>.crt` and `<name>.key` in `dir`. */
  issue(name: string): Promise<{ certFile: string; keyFile: string; caFile: string }>;
  tls(name: string): Promise<TlsMaterial>;
}

export async function createTestCa(): Promise<TestCa> {
  const pki = await createTestPki();
  const dir = mkdtempSync(join(tmpdir(), "sallyport-ca-"));
  // Postgres may run as another user.
  chmodSync(dir, 0o755);
  const caFile = join(dir, "ca.crt");
  writeFileSync(caFile, pki.ca);
  return {
    pki,
    dir,
    caFile,
    issue: async (name) => {
      const { cert, key } = await pki.issue(name);
      const files = { certFile: join(dir, `${name}.crt`), keyFile: join(dir, `${name}.key`), caFile };
      writeFileSync(files.certFile, cert);
      writeFileSync(files.keyFile, key, { mode: 0o600 });
      return files;
    },
    tls: (name) => pki.issue(name),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}
