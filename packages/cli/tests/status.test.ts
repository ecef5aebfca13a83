import { expect, test } from "vitest";
import { describeStatus } from "../src/status/describe.ts";
import { factsOf } from "../src/status/facts.ts";
import { parseMetrics } from "../src/status/prometheus.ts";

const service = (name: string, text: string) => ({
  status: { service: name, state: "ready" as const, faults: {}, version: "1", memoryBytes: 1 },
  samples: parseMetrics(text),
});

test("metrics are read as Prometheus writes them", () => {
  const samples = parseMetrics('# HELP a b\na{x="1\\"2\\n",y="} 3"} 4.5e1\nb +Inf\nbroken{\nc NaN\n');
  expect(samples.get("a")).toEqual([{ labels: { x: '1"2\n', y: "} 3" }, value: 45 }]);
  expect(samples.get("b")).toEqual([{ labels: {}, value: Number.POSITIVE_INFINITY }]);
  expect([...samples.keys()]).toEqual(["a", "b"]);
});

test("who is behind, what waits, and whose state differs is told; what no service tells is not known", () => {
  const facts = factsOf([
    service(
      "gateway",
      `sallyport_ledger_requests{state="queued"} 3
sallyport_ledger_requests{state="held"} 1
sallyport_queue_depth{model="pilot"} 3
sallyport_queue_oldest_seconds{model="pilot"} 12.5
sallyport_outbox_rows 7
sallyport_outbox_oldest_seconds 2
sallyport_quota_checks_total{result="GRANTED"} 40
sallyport_quota_checks_total{result="RATE_LIMITED"} 4
sallyport_calls_in_flight 2
sallyport_calls_limit 128
sallyport_state_version{bucket="policy",key="active"} 5
sallyport_state_age_seconds{bucket="policy",key="active"} 0.2`,
    ),
    service(
      "governance",
      `sallyport_held_items{stage="door1"} 4
sallyport_held_items{stage="door2"} 1
sallyport_held_oldest_seconds{stage="door1"} 60
sallyport_dead_letters_total{stream="HELD",reason="X"} 2`,
    ),
    service(
      "audit",
      `sallyport_bus_pending{stream="AUDIT",consumer="audit"} 9
sallyport_bus_in_hand{stream="AUDIT",consumer="audit"} 2
sallyport_log_size 100
sallyport_log_checkpoint_age_seconds 3.2
sallyport_log_gaps 1
sallyport_state_version{bucket="policy",key="active"} 4
sallyport_state_age_seconds{bucket="policy",key="active"} 9`,
    ),
  ]);
  const text = describeStatus(facts, { unknown: { switches: "not served" } }).join("\n");
  expect(text).toContain("5 wait for a person, oldest 60 s");
  expect(text).toContain("2 MESSAGES FAILED FOR GOOD");
  for (const part of [
    "queued 3, held 1",
    "calls in flight 2 of 128",
    "pilot: 3 waiting, oldest 12.5 s",
    "AUDIT/audit (audit): 9 pending, 2 in hand",
    "gateway: 7 waiting, oldest 2.0 s",
    "granted 40, rate_limited 4 since",
    "100 records, signed 3 s ago, 1 PRODUCERS WITH GAPS",
    "policy/active DIFFERS: gateway 5, audit 4, STALE for 9.0 s",
    "switches    not known: not served",
    "models      not known",
  ])
    expect(text).toContain(part);
});

test("with every service away nothing is guessed", () => {
  const text = describeStatus(factsOf([]), { unknown: {} }).join("\n");
  expect(text).toMatch(/queues +not known/);
  expect(text).toMatch(/consumers +not known/);
  expect(text).not.toMatch(/\b0\b/);
});
