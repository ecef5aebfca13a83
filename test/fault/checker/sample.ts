/** A day in which nothing went wrong, made up without a platform: what the checker has to say nothing about. */
import { canonicalBytes, type Json } from "@sallyport/attestation";
import {
  consistencyProof,
  encodeProof,
  inclusionProof,
  openCheckpoint,
  signatureType,
  signCheckpoint,
  verifierKeyOf,
} from "@sallyport/tlog";
import { createWorld, MODEL, NOW, plan } from "../../../packages/attestation/tests/fixture.ts";
import { type MemoryLog, memoryLog, newSigner, rootAt } from "../../../packages/tlog/tests/memory-log.ts";
import type { Evidence, Fetched, Transcript } from "../support/evidence.ts";
import { isTerminal, parseRecord } from "../support/log.ts";
import { type Asked, type Made, makeRequest } from "./sample-requests.ts";

const day: readonly Asked[] = [
  { id: "plain", state: "released", admission: "allow", texts: ["It is ", "a gate."] },
  { id: "short", state: "released", admission: "allow", texts: ["Hello!"] },
  { id: "silent-end", state: "released", admission: "allow", texts: ["The sea ", "is wide.", ""] },
  { id: "denied-at-door-1", state: "blocked", admission: "deny" },
  { id: "denied-at-door-2", state: "blocked", admission: "allow", texts: ["So far "] },
  { id: "waits-at-door-1", state: "held", admission: "hold" },
  { id: "waits-at-door-2", state: "held", admission: "allow", held: "Perhaps." },
  { id: "let-in", state: "released", admission: "hold", allowed: true, texts: ["It may ", "be so."] },
  { id: "let-in-and-failed", state: "failed", admission: "hold", allowed: true },
  { id: "let-out", state: "released", admission: "allow", allowed: true, texts: ["Some"], held: "Some of it." },
  { id: "given-up", state: "cancelled", admission: "allow", texts: ["Once "] },
];

const paused = { id: "switch-1", affects: ["outsider" as const], from: 1_000, until: 2_000 };
const logged = { size: 2 };

export function makeSample(): Evidence {
  const world = createWorld();
  const made = new Map(day.map((asked) => [asked.id, makeRequest(world, asked)]));
  const all = [...made.values()];
  const records = recordsOf(all).map((record) => parseRecord(canonicalBytes(record)));
  for (const { row } of all)
    row.leafHash = records.find((one) => isTerminal(one) && one.request!.id === row.id)?.leaf ?? "";
  const log = memoryLog(records.length, (i) => Buffer.from(records[i]!.bytes));
  return {
    ...headsOf(log, (leaf) => records.findIndex((one) => isTerminal(one) && one.leaf === leaf)),
    pauses: [paused],
    transcripts: transcriptsOf(made),
    fetched: ["plain", "let-out"].map((id) => fetchedOf(made.get(id)!)),
    rows: all.map(({ row }) => row),
    fresh: new Set(made.keys()),
    windows: all.flatMap(({ windows }) => windows),
    holds: all.flatMap(({ holds }) => holds),
    secrets: new Map(all.map(({ row, secret }) => [row.id, secret])),
    records,
    outbox: [],
    queue: new Set(["waits-at-door-1", "waits-at-door-2"]),
    approvedModels: new Set([MODEL]),
    trust: world.trust,
  };
}

function fetchedOf({ row, ticket, heard, whole }: Made): Fetched {
  const text = (whole.length > 0 ? whole : heard).map((window) => window.text).join("");
  return { requestId: row.id, text, ticket };
}

/** A caller who is told `state` and hears all, but for what `changes` says. */
function transcriptsOf(made: ReadonlyMap<string, Made>): Transcript[] {
  const hear = (id: string, changes: Partial<Transcript> = {}): Transcript => {
    const { row, heard } = made.get(id)!;
    const [state, windows] = [row.state, heard.map((window) => ({ ...window, heardAt: 1 }))];
    const asked = { via: "grpc", person: "user", prompt: "", expected: "released", repeats: undefined } as const;
    const events = ["accepted", ...windows.map(() => "window"), "outcome"] as Transcript["events"];
    const { leafHash } = row;
    return { ...asked, requestId: id, windows, events, state, leafHash, error: undefined, ...changes };
  };
  const inOne = (id: string) => [
    {
      text: made
        .get(id)!
        .heard.map(({ text }) => text)
        .join(""),
      heardAt: 1,
    },
  ];
  const cutOff = { state: undefined, leafHash: undefined, error: { code: "UNAVAILABLE", reason: "CONNECTION_LOST" } };
  const plain = hear("plain");
  const heldBack = hear("let-out", { state: "held", leafHash: undefined, expected: "held" });
  const whole = made.get("let-out")!.whole;
  return [
    plain,
    hear("plain", { repeats: plain }),
    hear("short", { via: "http", windows: inOne("short") }),
    hear("silent-end", { person: "outsider" }),
    hear("silent-end", { via: "sse", windows: inOne("silent-end") }),
    hear("plain", { ...cutOff, windows: plain.windows.slice(0, 1), events: ["accepted", "window", "error"] }),
    hear("denied-at-door-1", { expected: "blocked" }),
    hear("denied-at-door-2", { expected: "blocked" }),
    hear("waits-at-door-1", { expected: "held", leafHash: undefined }),
    hear("waits-at-door-2", { expected: "held", leafHash: undefined }),
    heldBack,
    hear("let-out", { repeats: heldBack, windows: whole }),
    hear("let-out", { via: "http", repeats: heldBack, windows: whole.map(({ text }) => ({ text })) }),
    hear("let-in", { repeats: hear("let-in", { state: "held", windows: [], leafHash: undefined, expected: "held" }) }),
    hear("let-in-and-failed"),
    hear("given-up", { ...cutOff, windows: [], events: ["accepted", "error"], expected: "cancelled" }),
  ];
}

/** In the order of a day; governance's last word is the last of its boot. */
function recordsOf(made: readonly Made[]): Json[] {
  const sequences = new Map<string, number>();
  const record = (producer: string, event: string, rest: Record<string, Json> = {}): Json => {
    const sequence = (sequences.get(producer) ?? 0) + 1;
    sequences.set(producer, sequence);
    return { v: 1, event, producer, epoch: `${producer}-1`, sequence, time: NOW.toISOString(), ...rest };
  };
  const ofRequest = ({ row, holds }: Made): Json[] => {
    const request = { request: { id: row.id, modelDigest: MODEL } };
    const records = row.attempt > 0 ? [record("gateway", "request.accepted", request)] : [];
    for (const { stage, allowed } of holds) {
      records.push(record("gateway", "request.held", request));
      const actor = { tenant: plan.tenant, subject: "reviewer" };
      const word = { actor, decision: { stage: "review", decision: "allow" }, detail: { stage, awaitsSecond: false } };
      if (allowed) records.push(record("governance", "review.decided", { ...request, ...word }));
    }
    if (row.endedAt) records.push(record("gateway", `request.${row.state}`, request));
    return records;
  };
  const detail = { detail: { switch: paused.id } };
  return [
    record("audit", "log.started"),
    record("governance", "switch.paused", detail),
    record("governance", "switch.resumed", detail),
    ...made.flatMap(ofRequest),
  ];
}

function headsOf(
  log: MemoryLog,
  indexOf: (leaf: string) => number,
): Pick<Evidence, "before" | "after" | "consistency" | "proofs" | "logTrust"> {
  const signer = newSigner("log.example/audit");
  const logTrust = { origin: signer.name, keys: [verifierKeyOf(signer, signatureType.ed25519)] };
  const size = log.entries.length;
  const signed = (at: number) =>
    signCheckpoint({ origin: signer.name, size: at, root: rootAt(log, at), extensions: [] }, signer);
  const checkpoint = signed(size);
  const proofOf = (index: number) => encodeProof({ index, hashes: inclusionProof(index, size, log.read), checkpoint });
  const leaves = log.entries.map((bytes) => parseRecord(bytes).leaf).filter((leaf) => indexOf(leaf) !== -1);
  return {
    before: openCheckpoint(signed(logged.size), logTrust),
    after: openCheckpoint(checkpoint, logTrust),
    consistency: consistencyProof(logged.size, size, log.read),
    proofs: new Map(leaves.map((leaf) => [leaf, proofOf(indexOf(leaf))])),
    logTrust,
  };
}
