import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Logger } from "./logger.ts";
import { reloadFiles } from "./reload.ts";
import { gauge } from "./telemetry/metrics.ts";

const expiresAt = gauge("sallyport_certificate_expiry_timestamp_seconds", "When this service's certificate ends.");

/** PEM: this process's certificate (with intermediates), its key, and the CA of its neighbours. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  /** Called when the three were replaced; absent where they never are. Returns the function that ends it. */
  readonly onChange?: (listener: () => void) => () => void;
}

/** What a client needs: the CA; certificate and key where the server wants to know who calls. */
export interface ClientTls {
  readonly ca: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly onChange?: (listener: () => void) => () => void;
}

/**
 * Reads the three files, and again when they change. Throws the file system's error, which names the file, or
 * node:crypto's for what is no certificate or key.
 */
export function loadTls(files: { certFile: string; keyFile: string; caFile: string }, log: Logger): TlsMaterial {
  const reloaded = reloadFiles("tls", Object.values(files), () => readTls(files), log);
  return {
    get cert() {
      return reloaded.current.cert;
    },
    get key() {
      return reloaded.current.key;
    },
    get ca() {
      return reloaded.current.ca;
    },
    onChange: (listener) => reloaded.onChange(listener),
  };
}

/** A CA alone, such as that of the callers' certificates; read again when it changes. */
export function loadCa(file: string, log: Logger): Pick<TlsMaterial, "ca" | "onChange"> {
  const reloaded = reloadFiles("callers-ca", [file], () => ({ ca: readCa(file) }), log);
  return {
    get ca() {
      return reloaded.current.ca;
    },
    onChange: (listener) => reloaded.onChange(listener),
  };
}

function readCa(file: string): Buffer {
  const ca = readFileSync(file);
  new X509Certificate(ca);
  return ca;
}

function readTls({ certFile, keyFile, caFile }: { certFile: string; keyFile: string; caFile: string }) {
  const [cert, key, ca] = [readFileSync(certFile), readFileSync(keyFile), readFileSync(caFile)];
  const certificate = new X509Certificate(cert);
  if (!certificate.checkPrivateKey(createPrivateKey(key))) {
    throw new Error(`${keyFile} is not the key of ${certFile}`);
  }
  createSecureContext({ cert, key, ca });
  expiresAt.set({}, Date.parse(certificate.validTo) / 1_000);
  return { cert, key, ca };
}
