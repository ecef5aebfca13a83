/** What the metrics of all services say together. What no service tells is left out, never guessed. */
import { byLabel, type Samples, single } from "./prometheus.ts";
import type { Probed } from "./services.ts";

export interface Facts {
  requests: Record<string, number> | undefined;
  inFlight: { calls: number; limit: number | undefined } | undefined;
  queues: { model: string; waiting: number; oldestSeconds: number }[] | undefined;
  consumers: { service: string; stream: string; consumer: string; pending: number; inHand: number }[];
  outboxes: { service: string; rows: number; oldestSeconds: number }[];
  log: { records: number; signedSecondsAgo?: number; gaps?: number; rejected?: number } | undefined;
  /** Signed state, by who holds which version of it; `ageSeconds` is that of the longest unconfirmed. */
  signedState: { key: string; versions: Record<string, number>; ageSeconds: number }[];
  trustBundleEnds: string | undefined;
  firstCertificate: { service: string; ends: string } | undefined;
  /** Calls that asked for their share of the limits since the gateway started, by the answer: GRANTED or why not. */
  limits: Record<string, number> | undefined;
  /** Held requests that wait for a person. */
  reviews: { waiting: number; oldestSeconds: number } | undefined;
  /** Messages that failed for good since governance started. */
  deadLetters: number | undefined;
}

export function factsOf(probed: readonly Probed[]): Facts {
  const known = probed.flatMap(({ status, samples }) => (samples ? [{ service: status.service, samples }] : []));
  const of = (service: string) => known.find((one) => one.service === service)?.samples;
  const gateway = of("gateway");
  const audit = of("audit");
  return {
    ...(gateway
      ? ledgerFacts(gateway)
      : { requests: undefined, inFlight: undefined, queues: undefined, limits: undefined }),
    consumers: known.flatMap(({ service, samples }) => consumersOf(service, samples)),
    outboxes: known.flatMap(({ service, samples }) => {
      const rows = single(samples, "sallyport_outbox_rows");
      const oldestSeconds = single(samples, "sallyport_outbox_oldest_seconds") ?? 0;
      return rows === undefined ? [] : [{ service, rows, oldestSeconds }];
    }),
    log: audit && logFacts(audit),
    ...reviewFacts(of("governance")),
    signedState: stateFacts(known),
    ...expiries(known),
  };
}

function ledgerFacts(gateway: Samples): Pick<Facts, "requests" | "inFlight" | "queues" | "limits"> {
  const named = (metric: string, label: string) => {
    const found = byLabel(gateway, metric, label);
    return Object.fromEntries(found.map(({ key, value }) => [key, value]));
  };
  const calls = single(gateway, "sallyport_calls_in_flight");
  const oldest = named("sallyport_queue_oldest_seconds", "model");
  const depths = byLabel(gateway, "sallyport_queue_depth", "model");
  const ledger = gateway.has("sallyport_ledger_requests");
  return {
    requests: ledger ? named("sallyport_ledger_requests", "state") : undefined,
    inFlight: calls === undefined ? undefined : { calls, limit: single(gateway, "sallyport_calls_limit") },
    queues: ledger
      ? depths.map(({ key, value }) => ({ model: key, waiting: value, oldestSeconds: oldest[key] ?? 0 }))
      : undefined,
    limits: gateway.has("sallyport_quota_checks_total") ? named("sallyport_quota_checks_total", "result") : undefined,
  };
}

function consumersOf(service: string, samples: Samples): Facts["consumers"] {
  const inHand = samples.get("sallyport_bus_in_hand") ?? [];
  return (samples.get("sallyport_bus_pending") ?? []).map(({ labels, value: pending }) => {
    const { stream = "", consumer = "" } = labels;
    const taken = inHand.find((one) => one.labels.stream === stream && one.labels.consumer === consumer);
    return { service, stream, consumer, pending, inHand: taken?.value ?? 0 };
  });
}

function reviewFacts(governance: Samples | undefined): Pick<Facts, "reviews" | "deadLetters"> {
  const sum = (values: readonly { value: number }[]) => values.reduce((total, { value }) => total + value, 0);
  const held = governance?.get("sallyport_held_items");
  const oldest = (governance?.get("sallyport_held_oldest_seconds") ?? []).map(({ value }) => value);
  return {
    reviews: held && { waiting: sum(held), oldestSeconds: Math.max(0, ...oldest) },
    // A counter that never counted is not shown.
    deadLetters: governance && sum(governance.get("sallyport_dead_letters_total") ?? []),
  };
}

function logFacts(audit: Samples): Facts["log"] {
  const records = single(audit, "sallyport_log_size");
  if (records === undefined) return undefined;
  return {
    records,
    signedSecondsAgo: single(audit, "sallyport_log_checkpoint_age_seconds"),
    gaps: single(audit, "sallyport_log_gaps"),
    rejected: single(audit, "sallyport_log_rejected"),
  };
}

function stateFacts(known: readonly { service: string; samples: Samples }[]): Facts["signedState"] {
  const states = new Map<string, Facts["signedState"][number]>();
  for (const { service, samples } of known) {
    const ages = samples.get("sallyport_state_age_seconds") ?? [];
    for (const { labels, value } of samples.get("sallyport_state_version") ?? []) {
      const key = `${labels.bucket}/${labels.key}`;
      const state = states.get(key) ?? { key, versions: {}, ageSeconds: 0 };
      const age = ages.find((one) => one.labels.bucket === labels.bucket && one.labels.key === labels.key)?.value ?? 0;
      state.versions[service] = value;
      state.ageSeconds = Math.max(state.ageSeconds, age);
      states.set(key, state);
    }
  }
  return [...states.values()].sort((a, b) => a.key.localeCompare(b.key));
}

function expiries(
  known: readonly { service: string; samples: Samples }[],
): Pick<Facts, "trustBundleEnds" | "firstCertificate"> {
  const ends = (metric: string) =>
    known
      .flatMap(({ service, samples }) => {
        const seconds = single(samples, metric);
        return seconds === undefined ? [] : [{ service, seconds }];
      })
      .sort((a, b) => a.seconds - b.seconds)[0];
  const time = (seconds: number) => new Date(seconds * 1_000).toISOString();
  const trust = ends("sallyport_trust_bundle_expiry_timestamp_seconds");
  const certificate = ends("sallyport_certificate_expiry_timestamp_seconds");
  return {
    trustBundleEnds: trust && time(trust.seconds),
    firstCertificate: certificate && { service: certificate.service, ends: time(certificate.seconds) },
  };
}
