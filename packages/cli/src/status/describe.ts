/** The status as lines for a person; what is not known says so. */
import type { Asked } from "./asked.ts";
import type { Facts } from "./facts.ts";

const widest = 12;
const unknown = "not known";

export function describeStatus(facts: Facts, asked: Asked): string[] {
  const rows: [string, string | string[]][] = [
    ["requests", requests(facts)],
    ["queues", queues(facts)],
    ["consumers", consumers(facts)],
    [
      "outboxes",
      facts.outboxes.map(
        ({ service, rows, oldestSeconds }) =>
          `${service}: ${rows} waiting${rows > 0 ? `, oldest ${oldestSeconds.toFixed(1)} s` : ""}`,
      ),
    ],
    ["limits", limits(facts)],
    ["reviews", reviews(facts)],
    ["log", log(facts, asked)],
    [
      "policy",
      asked.policyDigest
        ? `decided last by ${asked.policyDigest}`
        : reason(asked, "checkpoint", "no recent decision in the log"),
    ],
    [
      "models",
      asked.models
        ? orNone(asked.models.map(({ name, version, digest, tier }) => `${name} ${version} (${tier}) ${digest}`))
        : reason(asked, "models"),
    ],
    ["state", facts.signedState.map(state)],
    [
      "switches",
      asked.switches
        ? orNone(
            asked.switches.map(
              (one) =>
                `${one.kind} of ${one.target}: ${one.state}${one.until ? ` until ${one.until}` : ""} (${one.id})`,
            ),
          )
        : reason(asked, "switches"),
    ],
    ["trust", trust(facts, asked)],
  ];
  return rows.flatMap(([name, said]) => {
    const lines = [said].flat();
    return (lines.length > 0 ? lines : [unknown]).map((line, at) => `${(at === 0 ? name : "").padEnd(widest)}${line}`);
  });
}

function requests({ requests: states, inFlight }: Facts): string[] {
  const counted = states && Object.entries(states).map(([name, value]) => `${name} ${value}`);
  const calls =
    inFlight && `calls in flight ${inFlight.calls}${inFlight.limit === undefined ? "" : ` of ${inFlight.limit}`}`;
  return [counted?.join(", "), calls].filter((line) => line !== undefined);
}

function queues({ queues: found }: Facts): string | string[] {
  if (!found) return unknown;
  if (found.length === 0) return "nothing waits for a worker";
  return found.map(
    ({ model, waiting, oldestSeconds }) => `${model}: ${waiting} waiting, oldest ${oldestSeconds.toFixed(1)} s`,
  );
}

/** Only who is behind: a platform has a dozen consumers. */
function consumers({ consumers: all }: Facts): string | string[] {
  if (all.length === 0) return unknown;
  const behind = all.filter(({ pending, inHand }) => pending > 0 || inHand > 0);
  if (behind.length === 0) return `none of ${all.length} is behind`;
  return behind.map(
    ({ service, stream, consumer, pending, inHand }) =>
      `${stream}/${consumer} (${service}): ${pending} pending, ${inHand} in hand`,
  );
}

function limits({ limits: answers }: Facts): string {
  if (!answers) return unknown;
  const told = Object.entries(answers).map(([answer, count]) => `${answer.toLowerCase()} ${count}`);
  return told.length > 0
    ? `${told.join(", ")} since the gateway started`
    : "nobody has asked since the gateway started";
}

function reviews({ reviews: waiting, deadLetters }: Facts): string[] {
  const held =
    waiting &&
    `${waiting.waiting} wait for a person${waiting.waiting > 0 ? `, oldest ${waiting.oldestSeconds.toFixed(0)} s` : ""}`;
  const dead = deadLetters ? `${deadLetters} MESSAGES FAILED FOR GOOD since governance started` : undefined;
  return [held, dead].filter((line) => line !== undefined);
}

function log({ log: found }: Facts, asked: Asked): string[] {
  const signed = found?.signedSecondsAgo === undefined ? [] : [`signed ${found.signedSecondsAgo.toFixed(0)} s ago`];
  const counted = found && [`${found.records} records`, ...signed, ...warnings(found)].join(", ");
  const head = asked.checkpoint;
  if (!head) return [counted, reason(asked, "checkpoint")].filter((line) => line !== undefined);
  const age = head.ageSeconds === undefined ? "" : `, newest ${Math.max(0, head.ageSeconds).toFixed(0)} s ago`;
  return [counted, `head of ${head.origin} over ${head.size} records${age}`].filter((line) => line !== undefined);
}

function warnings({ gaps, rejected }: NonNullable<Facts["log"]>): string[] {
  return [gaps ? `${gaps} PRODUCERS WITH GAPS` : "", rejected ? `${rejected} events rejected` : ""].filter(Boolean);
}

/** Versions differ for a moment after a change; longer than that somebody lags. */
function state({ key, versions, ageSeconds }: Facts["signedState"][number]): string {
  const distinct = [...new Set(Object.values(versions))];
  const stale = ageSeconds > 3 ? `, STALE for ${ageSeconds.toFixed(1)} s` : "";
  if (distinct.length === 1) return `${key} version ${distinct[0]} at ${Object.keys(versions).length} services${stale}`;
  return `${key} DIFFERS: ${Object.entries(versions)
    .map(([service, version]) => `${service} ${version}`)
    .join(", ")}${stale}`;
}

function trust({ trustBundleEnds, firstCertificate }: Facts, asked: Asked): string[] {
  const { trustBundle } = asked;
  const bundle = trustBundle
    ? `bundle version ${trustBundle.version} until ${trustBundle.ends}`
    : reason(asked, "trustBundle");
  const held =
    trustBundleEnds && trustBundleEnds !== trustBundle?.ends
      ? `a service holds one that ends ${trustBundleEnds}`
      : undefined;
  const certificate =
    firstCertificate && `first certificate to end: ${firstCertificate.service}, ${firstCertificate.ends}`;
  return [bundle, held, certificate].filter((line) => line !== undefined);
}

function orNone(lines: string[]): string | string[] {
  return lines.length > 0 ? lines : "none";
}

function reason(asked: Asked, part: string, otherwise = unknown): string {
  const why = asked.unknown[part];
  return why === undefined ? otherwise : `${unknown}: ${why}`;
}
