/**
 * What the dashboards show, one line a panel; `generate.ts` makes Grafana's JSON of it. Every service names itself in the label
 * `component`; the chamber's metrics come through governance under `component="inference-worker"`.
 */
export interface Panel {
  readonly title: string;
  /** PromQL; several make several lines. */
  readonly queries: readonly { readonly expr: string; readonly legend: string }[];
  /** Grafana's unit id. */
  readonly unit: "short" | "reqps" | "s" | "percentunit" | "bytes";
  readonly kind?: "timeseries" | "stat";
  /** What it tells, and what a healthy value is. */
  readonly help: string;
}

export interface Dashboard {
  /** Also the file's name. */
  readonly id: string;
  readonly title: string;
  readonly panels: readonly Panel[];
}

const interval = "$__rate_interval";
const rate = (metric: string, by: string, where = "") => `sum by (${by}) (rate(${metric}${where}[${interval}]))`;
const quantile = (q: number, metric: string, by = "", where = "") =>
  `histogram_quantile(${q}, sum by (le${by && `, ${by}`}) (rate(${metric}_bucket${where}[${interval}])))`;

function panel(
  title: string,
  unit: Panel["unit"],
  help: string,
  ...queries: readonly (readonly [expr: string, legend: string])[]
): Panel {
  return { title, unit, help, queries: queries.map(([expr, legend]) => ({ expr, legend })) };
}

const stat = (...args: Parameters<typeof panel>): Panel => ({ ...panel(...args), kind: "stat" });

const overview: Dashboard = {
  id: "overview",
  title: "Sallyport: overview",
  panels: [
    stat("Services up", "short", "As many as there are processes.", ["count(sallyport_build_info)", "up"]),
    stat("Released a second", "reqps", "Requests that ended with a ticketed output.", [
      `sum(rate(sallyport_requests_ended_total{state="released"}[${interval}]))`,
      "released",
    ]),
    stat("Waiting for a person", "short", "Held requests.", ["sum(max by (stage) (sallyport_held_items))", "held"]),
    stat("Dead letters", "short", "Messages that failed for good, in an hour: 0, or somebody looks.", [
      "sum(increase(sallyport_dead_letters_total[1h]))",
      "dead",
    ]),
    panel("Requests by how they ended", "reqps", "Failed ones come with a code.", [
      rate("sallyport_requests_ended_total", "state, code"),
      "{{state}} {{code}}",
    ]),
    panel("HTTP rate by status", "reqps", "5xx is ours; 499 left by themselves.", [
      rate("sallyport_http_requests_total", "component, route, status"),
      "{{component}} {{route}} {{status}}",
    ]),
    panel(
      "HTTP duration",
      "s",
      "Streams last to their end.",
      [quantile(0.5, "sallyport_http_seconds", "route"), "{{route}} p50"],
      [quantile(0.99, "sallyport_http_seconds", "route"), "{{route}} p99"],
    ),
    panel("gRPC rate", "reqps", "By service and method.", [
      rate("sallyport_grpc_server_calls_total", "component, method"),
      "{{component}} {{method}}",
    ]),
    panel("gRPC errors", "reqps", "By reason; a refusal is an error too.", [
      rate("sallyport_grpc_server_calls_total", "method, code, reason", '{code!="OK"}'),
      "{{method}} {{reason}}",
    ]),
    panel("gRPC duration, p99", "s", "Of calls served.", [
      quantile(0.99, "sallyport_grpc_server_seconds", "method"),
      "{{method}}",
    ]),
    panel("Calls to neighbours", "reqps", "By outcome, as the caller sees it.", [
      rate("sallyport_grpc_client_calls_total", "component, method, reason"),
      "{{component}} → {{method}} {{reason}}",
    ]),
    panel("Calls to neighbours, p99", "s", "The network hop included.", [
      quantile(0.99, "sallyport_grpc_client_seconds", "component, method"),
      "{{component}} → {{method}}",
    ]),
    panel(
      "First window",
      "s",
      "From acceptance to the first released window.",
      [quantile(0.5, "sallyport_first_window_seconds"), "p50"],
      [quantile(0.99, "sallyport_first_window_seconds"), "p99"],
    ),
    panel(
      "Whole requests",
      "s",
      "From acceptance to the end, by state.",
      [quantile(0.5, "sallyport_request_seconds", "state"), "{{state}} p50"],
      [quantile(0.99, "sallyport_request_seconds", "state"), "{{state}} p99"],
    ),
  ],
};

const doors: Dashboard = {
  id: "doors-and-tickets",
  title: "Sallyport: doors and tickets",
  panels: [
    panel("Decisions", "reqps", "Of both doors and of people.", [
      rate("sallyport_door_decisions_total", "stage, decision"),
      "{{stage}} {{decision}}",
    ]),
    panel("Why not", "reqps", "What weighed most in what was not simply allowed.", [
      rate("sallyport_door_decisions_total", "stage, decision, code, category", '{decision!="allow"}'),
      "{{stage}} {{decision}} {{code}} ({{category}})",
    ]),
    panel(
      "Time of a judgement",
      "s",
      "Tens of milliseconds at most.",
      [quantile(0.5, "sallyport_door_judge_seconds", "stage"), "{{stage}} p50"],
      [quantile(0.99, "sallyport_door_judge_seconds", "stage"), "{{stage}} p99"],
    ),
    panel("Tickets", "reqps", "Refused ones are a fault or an attack.", [
      rate("sallyport_tickets_total", "result, reason"),
      "{{result}} {{reason}}",
    ]),
    panel("Windows released", "reqps", "Each under its own ticket.", [
      `sum(rate(sallyport_windows_released_total[${interval}]))`,
      "windows",
    ]),
    panel(
      "Held, by stage",
      "short",
      "What waits for a person.",
      ["max by (stage) (sallyport_held_items)", "{{stage}}"],
      ["max by (stage) (sallyport_held_second_review)", "{{stage}} second person"],
    ),
    panel("Oldest hold", "s", "It blocks when its time is over.", [
      "max by (stage) (sallyport_held_oldest_seconds)",
      "{{stage}}",
    ]),
    panel("Runs under review", "short", "That door 2 is reading.", [
      "sum by (component) (sallyport_runs_under_review)",
      "runs",
    ]),
    panel("Signed state: age", "s", "Above 3 s a service refuses.", [
      "max by (component, bucket, key) (sallyport_state_age_seconds)",
      "{{component}} {{bucket}}/{{key}}",
    ]),
    panel("Signed state: version", "short", "The same everywhere within a second.", [
      "max by (component, bucket, key) (sallyport_state_version)",
      "{{component}} {{bucket}}/{{key}}",
    ]),
    panel("Refused because state was stale", "reqps", "0.", [
      rate("sallyport_state_refusals_total", "component, bucket"),
      "{{component}} {{bucket}}",
    ]),
  ],
};

const queue: Dashboard = {
  id: "queue-and-chamber",
  title: "Sallyport: queue and chamber",
  panels: [
    panel("Queue", "short", "Requests that wait for a worker. Each gateway shows the whole ledger.", [
      "max by (model) (sallyport_queue_depth)",
      "{{model}}",
    ]),
    panel("Oldest in the queue", "s", "By model.", ["max by (model) (sallyport_queue_oldest_seconds)", "{{model}}"]),
    panel(
      "Runs",
      "short",
      "At work, and as many as can be.",
      ["sum(sallyport_worker_running)", "running"],
      ["sum by (model) (sallyport_worker_sequences)", "{{model}} limit"],
    ),
    panel("Runs by how they ended", "reqps", "Done, or the code of the failure.", [
      rate("sallyport_worker_runs_total", "outcome"),
      "{{outcome}}",
    ]),
    panel("Tokens", "short", "A second, by model.", [rate("sallyport_worker_tokens_total", "model"), "{{model}}"]),
    panel("Windows from the worker", "reqps", "To door 2.", [
      `sum(rate(sallyport_worker_windows_total[${interval}]))`,
      "windows",
    ]),
    panel(
      "Duration of runs",
      "s",
      "Those that ended well.",
      [quantile(0.5, "sallyport_worker_run_seconds"), "p50"],
      [quantile(0.99, "sallyport_worker_run_seconds"), "p99"],
    ),
    panel(
      "First token",
      "s",
      "From the beginning of a run.",
      [quantile(0.5, "sallyport_worker_first_token_seconds"), "p50"],
      [quantile(0.99, "sallyport_worker_first_token_seconds"), "p99"],
    ),
    panel("Engines", "short", "1: ready.", ["min by (model) (sallyport_worker_engine_ready)", "{{model}}"]),
    panel("Engine restarts", "short", "In an hour.", [
      "sum by (model) (increase(sallyport_worker_engine_restarts_total[1h]))",
      "{{model}}",
    ]),
    panel(
      "The worker itself",
      "percentunit",
      "Event loop and CPU, engines not included.",
      ["max(sallyport_worker_event_loop_utilisation)", "event loop"],
      [`sum(rate(sallyport_worker_cpu_seconds_total[${interval}]))`, "CPU"],
    ),
    panel("Memory of the worker", "bytes", "Engines not included.", [
      "max(sallyport_worker_resident_memory_bytes)",
      "resident",
    ]),
    panel(
      "Telemetry of the chamber",
      "short",
      "Anything but taken: something speaks that should not.",
      [rate("sallyport_chamber_telemetry_total", "what, outcome"), "{{what}} {{outcome}}"],
      [`sum(rate(sallyport_worker_telemetry_dropped_total[${interval}]))`, "not sent"],
    ),
    panel("Lost attempts", "reqps", "Tried again, by cause.", [
      rate("sallyport_attempts_lost_total", "code"),
      "{{code}}",
    ]),
  ],
};

const ledger: Dashboard = {
  id: "ledger-and-log",
  title: "Sallyport: ledger and log",
  panels: [
    panel("Live requests", "short", "Neither released nor refused yet.", [
      "max by (state) (sallyport_ledger_requests)",
      "{{state}}",
    ]),
    panel(
      "Outbox",
      "short",
      "Messages not yet known to be safe; grows while the bus or a reader is away.",
      ["max by (component) (sallyport_outbox_rows)", "{{component}} rows"],
      ["sum by (component) (sallyport_outbox_waiting)", "{{component}} before their commit"],
    ),
    panel("Oldest in the outbox", "s", "Seconds at most.", [
      "max by (component) (sallyport_outbox_oldest_seconds)",
      "{{component}}",
    ]),
    panel(
      "Commit",
      "s",
      "From an operation to its commit.",
      [quantile(0.5, "sallyport_outbox_commit_seconds", "component"), "{{component}} p50"],
      [quantile(0.99, "sallyport_outbox_commit_seconds", "component"), "{{component}} p99"],
    ),
    panel("Operations a transaction", "short", "Grouping under load.", [
      `sum by (component) (rate(sallyport_outbox_group_operations_sum[${interval}])) / sum by (component) (rate(sallyport_outbox_group_operations_count[${interval}]))`,
      "{{component}}",
    ]),
    panel("Log", "short", "Records.", ["max(sallyport_log_size)", "size"]),
    panel("Records", "reqps", "Rejected ones are explained by a record of their own.", [
      rate("sallyport_log_records_total", "status"),
      "{{status}}",
    ]),
    panel(
      "Lag of the log",
      "s",
      "From the bus to the signed head.",
      [quantile(0.5, "sallyport_log_lag_seconds", "producer"), "{{producer}} p50"],
      [quantile(0.99, "sallyport_log_lag_seconds", "producer"), "{{producer}} p99"],
    ),
    panel(
      "Append",
      "s",
      "One transaction: records, tiles, vault, signed head.",
      [quantile(0.5, "sallyport_log_append_seconds"), "p50"],
      [quantile(0.99, "sallyport_log_append_seconds"), "p99"],
    ),
    panel(
      "Records an append",
      "short",
      "That share one signed head.",
      [
        `sum(rate(sallyport_log_append_operations_sum[${interval}])) / sum(rate(sallyport_log_append_operations_count[${interval}]))`,
        "records",
      ],
      ["sum(sallyport_log_waiting)", "waiting"],
    ),
    panel("Age of the checkpoint", "s", "Grows while nothing happens; not while records wait.", [
      "max(sallyport_log_checkpoint_age_seconds)",
      "age",
    ]),
    panel(
      "Gaps and rejections",
      "short",
      "0.",
      ["max(sallyport_log_gaps)", "gaps"],
      ["max(sallyport_log_rejected)", "rejected"],
    ),
    panel("Vault", "short", "Keys that it holds, as the database estimates.", ["max(sallyport_vault_keys)", "keys"]),
    panel("Bodies opened", "reqps", "Each one is in the log.", [
      rate("sallyport_vault_opened_total", "outcome"),
      "{{outcome}}",
    ]),
    panel("Bus consumers", "reqps", "By what became of the messages.", [
      rate("sallyport_bus_handled_total", "component, stream, outcome, reason"),
      "{{component}} {{stream}} {{outcome}} {{reason}}",
    ]),
    panel("Age at delivery, p99", "s", "How long messages waited on the bus.", [
      quantile(0.99, "sallyport_bus_delivery_age_seconds", "component, stream"),
      "{{component}} {{stream}}",
    ]),
    panel("Handling, p99", "s", "From delivery to acknowledgement.", [
      quantile(0.99, "sallyport_bus_handling_seconds", "component, stream"),
      "{{component}} {{stream}}",
    ]),
    panel("Waiting behind the last delivery", "short", "Consumer lag.", [
      "max by (component, stream, consumer) (sallyport_bus_pending)",
      "{{component}} {{stream}} {{consumer}}",
    ]),
  ],
};

const use: Dashboard = {
  id: "services",
  title: "Sallyport: every service",
  panels: [
    panel("CPU", "percentunit", "Cores, by service.", [
      rate("process_cpu_seconds_total", "component"),
      "{{component}}",
    ]),
    panel("Event loop", "percentunit", "Near 1 nothing more fits in.", [
      "max by (component) (sallyport_event_loop_utilisation)",
      "{{component}}",
    ]),
    panel("Event-loop lag, p99", "s", "Milliseconds.", [
      "max by (component) (nodejs_eventloop_lag_p99_seconds)",
      "{{component}}",
    ]),
    panel("Memory", "bytes", "Resident.", ["max by (component) (process_resident_memory_bytes)", "{{component}}"]),
    panel("Heap", "bytes", "In use.", ["max by (component) (nodejs_heap_size_used_bytes)", "{{component}}"]),
    panel("Garbage collection", "percentunit", "Share of time.", [
      rate("nodejs_gc_duration_seconds_sum", "component"),
      "{{component}}",
    ]),
    panel("Open files", "short", "Of each process.", ["max by (component) (process_open_fds)", "{{component}}"]),
    panel(
      "Database connections",
      "short",
      "In use, idle and the limit.",
      ["sum by (component, state) (sallyport_db_connections)", "{{component}} {{state}}"],
      ["sum by (component) (sallyport_db_waiting)", "{{component}} waiting"],
    ),
    panel("Transactions, p99", "s", "Tries included.", [
      quantile(0.99, "sallyport_db_transaction_seconds", "component"),
      "{{component}}",
    ]),
    panel("Database failures", "reqps", "By reason.", [
      rate("sallyport_db_failures_total", "component, reason"),
      "{{component}} {{reason}}",
    ]),
    panel(
      "Bus",
      "short",
      "1 while connected.",
      ["min by (component) (sallyport_bus_connected)", "{{component}}"],
      ["sum by (component) (increase(sallyport_bus_disconnections_total[1h]))", "{{component}} breaks in an hour"],
    ),
    panel("Publishing, p99", "s", "Until the stream acknowledged.", [
      quantile(0.99, "sallyport_bus_publish_seconds", "component, stream"),
      "{{component}} {{stream}}",
    ]),
    panel("Published", "reqps", "By outcome.", [
      rate("sallyport_bus_published_total", "component, stream, reason"),
      "{{component}} {{stream}} {{reason}}",
    ]),
    panel(
      "In flight",
      "short",
      "Calls and messages being worked on.",
      ["sum by (component) (sallyport_grpc_server_in_flight)", "{{component}} gRPC"],
      ["sum by (component) (sallyport_http_in_flight)", "{{component}} HTTP"],
      ["sum by (component, stream) (sallyport_bus_in_hand)", "{{component}} {{stream}}"],
      ["sum by (component) (sallyport_calls_in_flight)", "{{component}} calls"],
      ["sum by (component) (sallyport_calls_limit)", "{{component}} limit"],
    ),
    panel("Spans", "reqps", "Sent to the collector, or lost.", [
      rate("sallyport_spans_exported_total", "component, outcome"),
      "{{component}} {{outcome}}",
    ]),
    panel("Readings left out", "reqps", "What a scrape could not read, for instance from a database that is away.", [
      rate("sallyport_readings_failed_total", "component, metric"),
      "{{component}} {{metric}}",
    ]),
    stat("Versions", "short", "One, but while an update rolls through.", [
      "count by (version) (sallyport_build_info)",
      "{{version}}",
    ]),
  ],
};

const access: Dashboard = {
  id: "access",
  title: "Sallyport: limits, switches, credentials",
  panels: [
    panel("Quotas", "reqps", "Calls that asked for their share, by the answer.", [
      rate("sallyport_quota_checks_total", "result"),
      "{{result}}",
    ]),
    panel("Turned away", "reqps", "By limits, switches and revocations.", [
      rate(
        "sallyport_http_requests_total",
        "reason",
        '{reason=~"RATE_LIMITED|QUOTA_EXHAUSTED|CONCURRENCY_LIMIT|OVERLOADED|PAUSED|BANNED|CREDENTIAL_REVOKED"}',
      ),
      "{{reason}}",
    ]),
    panel("Stopped at work", "reqps", "Requests that a switch ended.", [
      rate("sallyport_requests_ended_total", "code", '{state="cancelled"}'),
      "{{code}}",
    ]),
    panel("Not let in", "reqps", "Tokens and certificates that were refused.", [
      rate("sallyport_http_requests_total", "component, reason", '{status=~"401|403"}'),
      "{{component}} {{reason}}",
    ]),
    panel("Certificates", "s", "Time left.", [
      "min by (component) (sallyport_certificate_expiry_timestamp_seconds) - time()",
      "{{component}}",
    ]),
    panel("Trust bundle", "s", "Time left.", [
      "min by (component) (sallyport_trust_bundle_expiry_timestamp_seconds) - time()",
      "{{component}}",
    ]),
    panel("Files in use", "s", "Age of what each service has loaded; a rotation makes it young.", [
      "time() - max by (component, what) (sallyport_files_loaded_timestamp_seconds)",
      "{{component}} {{what}}",
    ]),
    panel("Vault keys under the former master key", "short", "Falls to 0 after a rotation.", [
      "max(sallyport_vault_keys_under_former_master_key)",
      "keys",
    ]),
  ],
};

export const dashboards: readonly Dashboard[] = [overview, doors, queue, ledger, access, use];
