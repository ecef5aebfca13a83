/**
 * Who may talk to whom: a flow that is not here does not exist. NATS users and permissions, Postgres roles, mTLS
 * allowlists, network rules, the documentation's table and the isolation tests are generated from this table or checked
 * against it. What flows over the bus is declared once in proto/subjects.ts, the calls
 * between services in proto/calls.ts; both are joined in here.
 */
import { BREAK_GLASS } from "@sallyport/attestation";
import { calls } from "@sallyport/proto/calls";
import { buckets, coreSubjects, type ServiceName, services, streams } from "@sallyport/proto/subjects";

export type Party =
  | ServiceName
  | "nats"
  | "postgres"
  | "client"
  | "operator"
  | "issuer"
  | "model-server"
  | "collector"
  | "prometheus";

export { allowedCallers } from "@sallyport/proto/calls";

export interface Flow {
  readonly from: Party;
  readonly to: Party;
  readonly protocol: "grpc" | "http" | "nats" | "postgres";
  /** gRPC service names, stream and bucket names, or the schema. */
  readonly what: readonly string[];
  readonly why: string;
}

const generation = "sallyport.generation.v1.GenerationService";
const audit = "sallyport.audit.v1.AuditService";
const models = "sallyport.governance.v1.ModelService";
const review = "sallyport.governance.v1.ReviewService";
const switches = "sallyport.governance.v1.SwitchService";
const credentials = "sallyport.governance.v1.CredentialService";

const callFlows: readonly Flow[] = [
  { from: "client", to: "gateway", protocol: "grpc", what: [generation], why: "the client API" },
  { from: "client", to: "gateway", protocol: "http", what: ["openai"], why: "the OpenAI-compatible API" },
  { from: "client", to: "governance", protocol: "grpc", what: [credentials], why: "their own API tokens" },
  {
    from: "operator",
    to: "governance",
    protocol: "grpc",
    what: [models, review, switches, credentials],
    why: "registry, review queue, kill switch, credentials",
  },
  {
    from: "operator",
    to: "nats",
    protocol: "nats",
    what: [`put KV ${BREAK_GLASS.bucket}/${BREAK_GLASS.key}`],
    why: "break-glass: a switch while governance is down",
  },
  { from: "operator", to: "audit", protocol: "grpc", what: [audit], why: "records and proofs" },
  {
    from: "operator",
    to: "audit",
    protocol: "http",
    what: ["tlog-tiles"],
    why: "the log for tools that we did not write",
  },
  { from: "gateway", to: "issuer", protocol: "http", what: ["jwks"], why: "keys of the callers' access tokens" },
  { from: "governance", to: "issuer", protocol: "http", what: ["jwks"], why: "keys of the operators' access tokens" },
  { from: "audit", to: "issuer", protocol: "http", what: ["jwks"], why: "keys of the auditors' access tokens" },
  ...calls.map(({ from, to, service, why }): Flow => ({ from, to, protocol: "grpc", what: [service], why })),
  {
    from: "gateway",
    to: "postgres",
    protocol: "postgres",
    what: ["gateway"],
    why: "the request ledger and its outbox",
  },
  { from: "audit", to: "postgres", protocol: "postgres", what: ["audit"], why: "the log and the vault" },
  {
    from: "governance",
    to: "postgres",
    protocol: "postgres",
    what: ["governance"],
    why: "registry, reviews and their outbox",
  },
  {
    from: "inference-worker",
    to: "model-server",
    protocol: "http",
    what: ["openai"],
    why: "engine remote, inside the chamber",
  },
];

/** The chamber: these reach the bus and nothing else (a model server beside the worker not even that). */
export const chamber: readonly Party[] = ["inference-worker", "model-server"];

function busFlows(): Flow[] {
  const flows: Flow[] = [];
  for (const stream of Object.values(streams)) {
    for (const from of stream.writers)
      flows.push({ from, to: "nats", protocol: "nats", what: [`publish ${stream.name}`], why: "write" });
    for (const consumer of stream.consumers)
      flows.push({
        from: consumer.service,
        to: "nats",
        protocol: "nats",
        what: [`consume ${stream.name}/${consumer.name}`],
        why: "read",
      });
  }
  for (const [name, core] of Object.entries(coreSubjects)) {
    for (const from of core.writers)
      flows.push({ from, to: "nats", protocol: "nats", what: [`publish ${name}`], why: "signal" });
    for (const from of core.readers)
      flows.push({ from, to: "nats", protocol: "nats", what: [`subscribe ${name}`], why: "signal" });
  }
  for (const bucket of Object.values(buckets)) {
    flows.push({
      from: bucket.writer,
      to: "nats",
      protocol: "nats",
      what: [`put KV ${bucket.name}`],
      why: "signed state",
    });
    for (const from of bucket.readers)
      flows.push({ from, to: "nats", protocol: "nats", what: [`watch KV ${bucket.name}`], why: "signed state" });
  }
  return flows;
}

/** Spans go out and metrics are fetched, but not of the chamber: its own come through the bus (core subject telemetry). */
function telemetryFlows(): Flow[] {
  return services
    .filter((service) => !chamber.includes(service))
    .flatMap((service): Flow[] => [
      {
        from: service,
        to: "collector",
        protocol: "http",
        what: ["otlp"],
        why: "spans, where a collector is configured",
      },
      { from: "prometheus", to: service, protocol: "http", what: ["metrics"], why: "the metrics of its health port" },
    ]);
}

export const flows: readonly Flow[] = [...callFlows, ...busFlows(), ...telemetryFlows()];
