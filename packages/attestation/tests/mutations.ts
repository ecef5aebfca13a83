import {
  AttestationError,
  canonicalBytes,
  type Envelope,
  type KeyStage,
  type Predicate,
  parseCanonical,
  type Signer,
  type TicketContext,
} from "../src/index.ts";
import {
  type Alterations,
  after,
  type Chain,
  type Change,
  createChain,
  NOW,
  type Plan,
  sha,
  type World,
} from "./fixture.ts";

/** What an attacker presents, and to which verifier. */
export interface Attack {
  chain: Chain;
  overrides?: Partial<TicketContext> & { sent?: Uint8Array };
}

export interface Draw {
  chain: Chain;
  /** Two free choices, 0 to 2^31-1. */
  a: number;
  b: number;
}

/** Makes an attack from a valid chain, or undefined where it does not apply to this one. */
export type Mutation = (draw: Draw) => Attack | undefined;

export const pick = <T>(list: readonly T[], n: number): T => list[n % list.length]!;

/** The chain's envelopes in order, each with its place and a copy of the chain in which it is another. */
export function places(chain: Chain) {
  const { admission, claim, windows, lastMark, held } = chain;
  const list: { place: string; stage: KeyStage; envelope: Envelope; with: (other: Envelope) => Chain }[] = [];
  for (const [i, envelope] of admission.entries()) {
    const stage = (["door1", "review", "countersign"] as const)[i]!;
    list.push({ place: stage, stage, envelope, with: (other) => ({ ...chain, admission: admission.with(i, other) }) });
  }
  list.push({ place: "claim", stage: "worker", envelope: claim, with: (other) => ({ ...chain, claim: other }) });
  for (const [i, window] of windows.entries()) {
    const change = (changes: object) => ({ ...chain, windows: windows.with(i, { ...window, ...changes }) });
    if (window.mark !== undefined) {
      const marked = (mark: Envelope) => change({ mark });
      list.push({ place: `mark${i}`, stage: "watermarker", envelope: window.mark, with: marked });
    }
    const released = (envelope: Envelope) => change({ envelope });
    list.push({ place: `window${i}`, stage: "door2", envelope: window.envelope, with: released });
  }
  if (lastMark !== undefined) {
    const marked = (other: Envelope) => ({ ...chain, lastMark: other });
    list.push({ place: "mark0", stage: "watermarker", envelope: lastMark, with: marked });
  }
  for (const [name, place, stage] of [
    ["hold", "hold", "door2"],
    ["review", "heldReview", "review"],
    ["countersign", "heldCountersign", "countersign"],
  ] as const) {
    if (held === undefined) continue;
    const other = (envelope: Envelope) => ({ ...chain, held: { ...held, [name]: envelope } });
    list.push({ place, stage, envelope: held[name], with: other });
  }
  return list;
}

/** The same plan said again with one place altered and signed by `signer` (the stage's real key when absent). */
export function altered(
  world: World,
  { chain }: Draw,
  place: string,
  alteration: Alterations[string],
): Attack | undefined {
  try {
    return { chain: createChain(world, chain.plan, { [place]: alteration }) };
  } catch (error) {
    // The library does not even sign it; that is another promise, tested with the statements.
    if (error instanceof AttestationError) return undefined;
    throw error;
  }
}

export function flipBit(bytes: Uint8Array, n: number): Uint8Array {
  const at = n % (bytes.length * 8);
  return bytes.map((byte, i) => (i === at >> 3 ? byte ^ (1 << (at & 7)) : byte));
}

/** One altered field each, with everything else right and the signature of the stage's own key. */
export const FIELD_CHANGES: Record<string, Change> = {
  requestId: (p) => ({ requestId: `${p.requestId}x` }),
  tenant: (p) => ({ tenant: `${p.tenant}x` }),
  attempt: (p) => ({ attempt: p.attempt + 1 }),
  modality: (p) => ({ modality: p.modality === "text" ? "image" : "text" }),
  "decision to deny": () => ({ decision: "deny" }),
  "decision to hold": (p) => ({ decision: p.decision === "hold" ? "allow" : "hold" }),
  "hard stop": (p) => ({ findings: [{ ...p.findings[0]!, hardStop: true }] }),
  "subject's bytes": (_, subject) => ({ subject: { digest: sha(subject.digest) } }),
  "subject's name": (_, subject) => ({ subject: { name: subject.name === "output" ? "request" : "output" } }),
  prev: (p) => ({ prev: sha(p.prev ?? "nothing") }),
  "what was sent": (p) => ({ sentDigest: sha(p.sentDigest ?? "nothing") }),
  index: (p) => ({ index: p.index + 1 }),
  "model named": (p) => ({ modelDigest: sha(p.modelDigest ?? "another model") }),
  "issued in the future": () => times(5_001, 60_000),
  // A hold waits for a person longer than it is valid; the person's decision must then be in time.
  "expired a moment ago": (p) => (p.decision === "hold" ? { decision: "deny" } : times(-60_000, 0)),
};

export const SIGNERS: Record<string, (world: World, stage: KeyStage, n: number) => Signer> = {
  "a key of another service": (world, stage, n) => {
    const others = Object.values(world.signers).filter((other) => other.keyid !== world.signers[stage].keyid);
    return { ...pick(others, n), stage };
  },
  "a key that nobody appointed": (world, stage) => world.strangers[stage],
  "a stranger's key under the right key id": (world, stage) => ({
    ...world.strangers[stage],
    keyid: world.signers[stage].keyid,
  }),
  "a retired key of the right stage": (world, stage) => world.retired[stage],
};

export const OTHERS: Record<string, (plan: Plan) => Plan> = {
  "another attempt": (plan) => ({ ...plan, attempt: plan.attempt + 1 }),
  "another run of the same attempt": (plan) => ({ ...plan, runId: `${plan.runId}x` }),
  "another request": (plan) => ({ ...plan, requestId: `${plan.requestId}x` }),
  "another tenant": (plan) => ({ ...plan, tenant: `${plan.tenant}x` }),
  "another salt": (plan) => ({ ...plan, salt: flipBit(plan.salt, 5) }),
};

/** Payload rewritten as valid, canonical JSON under the old signature. */
export function rewritten(envelope: Envelope, n: number): Envelope {
  const statement = parseCanonical(envelope.payload) as unknown as { predicate: Predicate };
  const { predicate } = statement;
  const edits: Partial<Predicate>[] = [
    { expiresAt: after(600) },
    { findings: [] },
    { final: !predicate.final },
    { index: predicate.index + 1 },
    { policyDigest: sha("mine") },
    { decision: predicate.decision === "allow" ? "sanitise" : "allow" },
  ];
  const payload = canonicalBytes({ ...statement, predicate: { ...predicate, ...pick(edits, n) } });
  return { ...envelope, payload };
}

/** Issued and expiring this many milliseconds after NOW. */
function times(issued: number, expires: number): Partial<Predicate> {
  const at = (ms: number) => new Date(NOW.getTime() + ms).toISOString();
  return { issuedAt: at(issued), expiresAt: at(expires) };
}
