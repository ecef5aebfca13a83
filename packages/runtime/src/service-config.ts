/** The part of the environment that every service reads alike; docs/design/contracts.md lists the variables. */
import type { EnvReader } from "./env.ts";
import { parseIssuers } from "./jwks.ts";
import { logLevels } from "./logger.ts";
import type { TracingConfig } from "./telemetry/otlp.ts";

/** Log, health, certificate, trust and bus. */
export function serviceConfig(env: EnvReader) {
  return {
    logLevel: env.oneOf("LOG_LEVEL", logLevels, { default: "info" }),
    healthAddress: env.address("HEALTH_ADDRESS"),
    tls: { certFile: env.file("TLS_CERT_FILE"), keyFile: env.file("TLS_KEY_FILE"), caFile: env.file("TLS_CA_FILE") },
    trustBundleFile: env.file("TRUST_BUNDLE_FILE"),
    trustRootFile: env.file("TRUST_ROOT_FILE"),
    natsUrl: env.url("NATS_URL", { schemes: ["tls", "nats"] }),
    natsNkeyFile: env.file("NATS_NKEY_FILE"),
  };
}

/** For a service with a database of its own. */
export function databaseConfig(env: EnvReader) {
  return {
    databaseUrl: env.url("DATABASE_URL", { schemes: ["postgres", "postgresql"] }),
    databasePasswordFile: env.file("DATABASE_PASSWORD_FILE"),
  };
}

/** For a service whose callers come with access tokens. */
export function callerConfig(env: EnvReader) {
  return { issuers: env.json("OIDC_ISSUERS", parseIssuers) };
}

/** For every service but those of the chamber, which have no route to a collector. */
export function tracingConfig(env: EnvReader): { tracing: TracingConfig } {
  return {
    tracing: {
      endpoint: env.has("OTEL_EXPORTER_OTLP_ENDPOINT")
        ? env.url("OTEL_EXPORTER_OTLP_ENDPOINT", { schemes: ["http", "https"] })
        : undefined,
      caFile: env.has("OTEL_EXPORTER_OTLP_CERTIFICATE") ? env.file("OTEL_EXPORTER_OTLP_CERTIFICATE") : undefined,
      ratio: env.int("TRACES_PERCENT", { default: 100, min: 0, max: 100 }) / 100,
    },
  };
}
