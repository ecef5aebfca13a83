import { type Dashboard, interval, panel, rate, spread } from "./panel.ts";

export const doors: Dashboard = {
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
      ...spread("sallyport_door_judge_seconds", "stage"),
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
