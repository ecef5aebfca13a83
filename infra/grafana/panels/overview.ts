import { type Dashboard, interval, panel, quantile, rate, spread, stat } from "./panel.ts";

export const overview: Dashboard = {
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
    panel("HTTP duration", "s", "Streams last to their end.", ...spread("sallyport_http_seconds", "route")),
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
      ...spread("sallyport_first_window_seconds"),
    ),
    panel(
      "Whole requests",
      "s",
      "From acceptance to the end, by state.",
      ...spread("sallyport_request_seconds", "state"),
    ),
  ],
};
