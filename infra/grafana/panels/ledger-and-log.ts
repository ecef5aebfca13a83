import { type Dashboard, interval, panel, quantile, rate, spread } from "./panel.ts";

export const ledger: Dashboard = {
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
    panel("Commit", "s", "From an operation to its commit.", ...spread("sallyport_outbox_commit_seconds", "component")),
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
      ...spread("sallyport_log_lag_seconds", "producer"),
    ),
    panel(
      "Append",
      "s",
      "One transaction: records, tiles, vault, signed head.",
      ...spread("sallyport_log_append_seconds"),
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
