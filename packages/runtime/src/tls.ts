import { readFileSync } from "node:fs";

/** PEM: this process's certificate (with intermediates), its key, and the CA of its neighbours. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

/** What a client needs: the CA; certificate and key where the server wants to know who calls. */
export interface ClientTls {
  readonly ca: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** Reads the three files. Throws the file system's error, which names the file. */
export function loadTls(files: { certFile: string; keyFile: string; caFile: string }): TlsMaterial {
  return { cert: readFileSync(files.certFile), key: readFileSync(files.keyFile), ca: readFileSync(files.caFile) };
}
