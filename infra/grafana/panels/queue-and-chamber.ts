import { type Dashboard, interval, panel, rate, spread } from "./panel.ts";

export const queue: Dashboard = {
  id: "queue-and-chamber",
  title: "Sallyport: queue and chamber",
  panels: [
    panel("Queue", "short", "Requests that wait for a worker. Each gateway shows the whole ledger.", [
      "max by (model) (sallyport_queue_depth)",
      "{{model}}",
    ]),
    panel("Oldest in the queue", "s", "By model.", ["max by (model) (sallyport_queue_oldest_seconds)", "{{model}}"]),
    panel(
      "Turns",
      "short",
      "Of what is queued: who waits for a turn, and what was sent and lies on the bus. Begun: a worker is at it.",
      ["sum by (model, stage) (sallyport_turns)", "{{model}} {{stage}}"],
    ),
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
    panel("Duration of runs", "s", "Those that ended well.", ...spread("sallyport_worker_run_seconds")),
    panel("First token", "s", "From the beginning of a run.", ...spread("sallyport_worker_first_token_seconds")),
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
