import { type Dashboard, panel, quantile, rate, stat } from "./panel.ts";

export const use: Dashboard = {
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
