import { createHash, generateKeyPairSync, type KeyObject } from "node:crypto";
import {
  createSigner,
  createStatement,
  createTrustBundle,
  type Envelope,
  envelopeDigest,
  type KeyStage,
  keyIdOf,
  loadTrustBundle,
  type Modality,
  type Predicate,
  type Signer,
  type Stage,
  type Subject,
  saltedDigest,
  signStatement,
  type TicketContext,
  TicketVerifier,
  type TrustContents,
} from "../src/index.ts";

export const NOW = new Date("2026-03-01T12:00:00.000Z");
export const MODEL = sha("model");
export const after = (seconds: number) => new Date(NOW.getTime() + seconds * 1000).toISOString();

const OWNERS: Record<KeyStage, string> = {
  door1: "pre-moderator",
  worker: "inference-worker",
  watermarker: "watermarker",
  door2: "post-moderator",
  countersign: "post-moderator",
  review: "governance",
  state: "governance",
  switch: "operator",
};

export function sha(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

export interface World {
  root: { publicKey: KeyObject; privateKey: KeyObject };
  contents: TrustContents;
  bundle: Uint8Array;
  trust: ReturnType<typeof loadTrustBundle>;
  signers: Record<KeyStage, Signer>;
  /** A signer of the same stage whose key ended before NOW. */
  retired: Record<KeyStage, Signer>;
  /** A signer whose key nobody appointed. */
  strangers: Record<KeyStage, Signer>;
}

/** Fresh keys and a bundle that appoints them, with one service for each role. */
export function createWorld(): World {
  const root = generateKeyPairSync("ed25519");
  const keys: TrustContents["keys"] = [];
  const make = (list: TrustContents["keys"] | undefined, from: string, to: string) => {
    const pairs = new Map<string, KeyObject>();
    const signerFor = (stage: KeyStage): Signer => {
      const service = OWNERS[stage];
      const known = pairs.get(service);
      const { publicKey, privateKey } = generateKeyPairSync("ed25519");
      if (known === undefined) {
        pairs.set(service, privateKey);
        const stages = (Object.keys(OWNERS) as KeyStage[]).filter((other) => OWNERS[other] === service);
        const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
        list?.push({ keyid: keyIdOf(publicKey), service, stages, publicKey: spki, notBefore: from, notAfter: to });
      }
      return createSigner(known ?? privateKey, stage);
    };
    return Object.fromEntries((Object.keys(OWNERS) as KeyStage[]).map((stage) => [stage, signerFor(stage)]));
  };
  const signers = make(keys, after(-86_400), after(86_400)) as World["signers"];
  const retired = make(keys, after(-864_000), after(-86_400)) as World["signers"];
  const strangers = make(undefined, "", "") as World["signers"];
  const contents = {
    version: 3,
    issuedAt: after(-86_400),
    expiresAt: after(86_400 * 365),
    keys,
    encryption: [],
    logs: [],
  };
  const bundle = createTrustBundle(contents, root.privateKey);
  return { root, contents, bundle, trust: loadTrustBundle(bundle, root.publicKey, NOW), signers, retired, strangers };
}

export interface Plan {
  requestId: string;
  tenant: string;
  attempt: number;
  runId: string;
  modality: Modality;
  salt: Uint8Array;
  request: Uint8Array;
  /** What the caller sent, where door 1 made the request of it. */
  sent?: Uint8Array;
  windows: Uint8Array[];
  admission: "allow" | "sanitise" | "hold";
  /** The windows as a stream, or the whole output held and released by a person. */
  release: "windows" | "person";
}

export const utf8 = (text: string) => new Uint8Array(Buffer.from(text));

/** Three windows of text, allowed at both doors. */
export const plan: Plan = {
  requestId: "r1",
  tenant: "acme",
  attempt: 2,
  runId: "run1",
  modality: "text",
  salt: new Uint8Array(32).fill(3),
  request: utf8("a question"),
  windows: [utf8("one "), utf8("two "), utf8("three")],
  admission: "allow",
  release: "windows",
};

/** Only a sanitised request is another than the one that was sent. */
export function sentOf({ admission, request, sent }: Plan): Uint8Array {
  return admission === "sanitise" ? (sent ?? utf8("as it was sent")) : request;
}

export interface Chain {
  plan: Plan;
  admission: Envelope[];
  claim: Envelope;
  windows: { envelope: Envelope; content: Uint8Array; mark?: Envelope }[];
  lastMark?: Envelope;
  held?: { hold: Envelope; review: Envelope; countersign: Envelope; content: Uint8Array };
}

/** What a statement says instead. */
export type Change = (predicate: Predicate, subject: Subject) => Partial<Predicate> & { subject?: Partial<Subject> };

/** Signs one statement of the plan. `change` alters it before its stage's real key signs. */
export function say(
  world: World,
  plan: Plan,
  stage: Stage,
  facts: Partial<Predicate> & { bytes: Uint8Array },
  change: Change = () => ({}),
  signer: Signer = world.signers[stage],
): Envelope {
  const { bytes, ...rest } = facts;
  const before = stage === "door1" || rest.attempt === 0;
  const predicate: Predicate = {
    requestId: plan.requestId,
    attempt: before ? 0 : plan.attempt,
    tenant: plan.tenant,
    stage,
    modality: plan.modality,
    decision: "allow",
    findings: [{ code: "TEST.LOW", category: "test", score: 0.25, hardStop: false, layer: "rules" }],
    policyDigest: stage === "worker" || stage === "watermarker" ? null : sha("policy"),
    modelDigest: stage === "worker" || stage === "watermarker" || stage === "door2" ? MODEL : null,
    index: 0,
    prev: null,
    final: false,
    issuedAt: NOW.toISOString(),
    expiresAt: after(60),
    ...rest,
  };
  const name = stage === "door2" || (!before && stage !== "worker") ? "output" : "request";
  const subject = { name, digest: saltedDigest(plan.salt, bytes) } as const;
  const { subject: otherSubject, ...changes } = change(predicate, subject);
  return signStatement(createStatement({ ...subject, ...otherSubject }, { ...predicate, ...changes }), signer);
}

/** What to do to one statement of a chain, by its place, before it is signed, and who signs it. */
export type Alterations = Partial<Record<string, { change?: Change; signer?: Signer }>>;

/** A valid chain of the plan, but for the alterations: everything after an altered statement follows it properly. */
export function createChain(world: World, plan: Plan, alter: Alterations = {}): Chain {
  const reviewer = { subject: "reviewer@example.com", justificationDigest: sha("because") };
  const parameters = { runId: plan.runId, seed: 7, paramsDigest: sha("params"), engine: "llama" };
  let prev: string | null = null;
  const next = (place: string, stage: Stage, bytes: Uint8Array, facts: Partial<Predicate>) => {
    const { change, signer } = alter[place] ?? {};
    const envelope = say(world, plan, stage, { bytes, prev, ...facts }, change, signer);
    prev = envelopeDigest(envelope);
    return envelope;
  };
  const { request: bytes } = plan;
  const sentDigest = plan.admission === "sanitise" ? saltedDigest(plan.salt, sentOf(plan)) : undefined;
  const admission = [next("door1", "door1", bytes, { decision: plan.admission, ...(sentDigest && { sentDigest }) })];
  if (plan.admission === "hold") {
    admission.push(next("review", "review", bytes, { attempt: 0, reviewer }));
    admission.push(next("countersign", "countersign", bytes, { attempt: 0 }));
  }
  const claim = next("claim", "worker", bytes, { decision: "claim", parameters });
  const chain: Chain = { plan, admission, claim, windows: [] };
  const mark = (index: number, content: Uint8Array) =>
    plan.modality === "image" ? next(`mark${index}`, "watermarker", content, { decision: "claim", index }) : undefined;
  if (plan.release === "person") {
    const content = Buffer.concat(plan.windows);
    const lastMark = mark(0, content);
    const hold = next("hold", "door2", content, { decision: "hold", final: true });
    const review = next("heldReview", "review", content, { reviewer });
    const countersign = next("heldCountersign", "countersign", content, { final: true });
    return { ...chain, lastMark, held: { hold, review, countersign, content } };
  }
  for (const [index, content] of plan.windows.entries()) {
    const marked = mark(index, content);
    const final = index === plan.windows.length - 1;
    const envelope = next(`window${index}`, "door2", content, { index, final });
    chain.windows.push({ envelope, content, mark: marked });
  }
  return chain;
}

export function contextOf(world: World, plan: Plan): TicketContext {
  return {
    trust: world.trust,
    requestId: plan.requestId,
    tenant: plan.tenant,
    attempt: plan.attempt,
    modality: plan.modality,
    requestDigest: saltedDigest(plan.salt, plan.request),
    sentDigest: saltedDigest(plan.salt, sentOf(plan)),
    salt: plan.salt,
    clock: () => NOW,
    approvedModel: (digest) => digest === MODEL,
  };
}

export function verifierFor(world: World, plan: Plan, overrides: Partial<TicketContext> = {}): TicketVerifier {
  return new TicketVerifier({ ...contextOf(world, plan), ...overrides });
}

/** What a gateway would do with the chain: returns what it would have written, in order, before any refusal. */
export function follow(verifier: TicketVerifier, chain: Chain): { released: Uint8Array[]; error?: unknown } {
  const released: Uint8Array[] = [];
  try {
    const [door1, review, countersign] = chain.admission;
    verifier.admit(door1!, review && { review, countersign: countersign! });
    verifier.claim(chain.claim);
    for (const { envelope, content, mark } of chain.windows) {
      if (mark !== undefined) verifier.mark(mark);
      verifier.window(envelope, content);
      released.push(content);
    }
    if (chain.lastMark !== undefined) verifier.mark(chain.lastMark);
    if (chain.held !== undefined) {
      const { hold, review: person, countersign: second, content } = chain.held;
      verifier.heldOutput(hold, person, second, content);
      released.push(content);
    }
    return { released };
  } catch (error) {
    return { released, error };
  }
}
