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
  windows: Uint8Array[];
  admission: "allow" | "sanitise" | "hold";
  /** The windows as a stream, or the whole output held and released by a person. */
  release: "windows" | "person";
}

export interface Chain {
  plan: Plan;
  admission: Envelope[];
  claim: Envelope;
  windows: { envelope: Envelope; content: Uint8Array }[];
  held?: { hold: Envelope; review: Envelope; countersign: Envelope; content: Uint8Array };
}

export type Change = (predicate: Predicate, subject: { name: "request" | "output"; digest: string }) => void;

/** Signs one statement of the plan. `change` alters it before its stage's real key signs. */
export function say(
  world: World,
  plan: Plan,
  stage: Stage,
  facts: Partial<Predicate> & { bytes: Uint8Array },
  change: Change = () => {},
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
    policyDigest: stage === "worker" ? null : sha("policy"),
    modelDigest: stage === "worker" || stage === "door2" ? MODEL : null,
    index: 0,
    prev: null,
    final: false,
    issuedAt: NOW.toISOString(),
    expiresAt: after(60),
    ...rest,
  };
  const name = stage === "door2" || (!before && stage !== "worker") ? "output" : "request";
  const subject = { name, digest: saltedDigest(plan.salt, bytes) } as const;
  const changed = { ...subject };
  change(predicate, changed);
  return signStatement(createStatement(changed, predicate), signer);
}

/** A valid chain of the plan. `alter` may change any statement, by its place, before it is signed. */
export function createChain(world: World, plan: Plan, alter: Record<string, Change> = {}): Chain {
  const reviewer = { subject: "reviewer@example.com", justificationDigest: sha("because") };
  const parameters = { runId: plan.runId, seed: 7, paramsDigest: sha("params"), engine: "llama" };
  const bytes = plan.request;
  const admission = [say(world, plan, "door1", { bytes, decision: plan.admission }, alter.door1)];
  const prev = () => envelopeDigest(admission.at(-1)!);
  if (plan.admission === "hold") {
    admission.push(say(world, plan, "review", { bytes, attempt: 0, prev: prev(), reviewer }, alter.review));
    admission.push(say(world, plan, "countersign", { bytes, attempt: 0, prev: prev() }, alter.countersign));
  }
  const claim = say(world, plan, "worker", { bytes, decision: "claim", prev: prev(), parameters }, alter.claim);
  const chain: Chain = { plan, admission, claim, windows: [] };
  if (plan.release === "person") {
    const content = Buffer.concat(plan.windows);
    const facts = { bytes: content, decision: "hold", final: true, prev: envelopeDigest(claim) } as const;
    const hold = say(world, plan, "door2", facts, alter.hold);
    const next = { bytes: content, prev: envelopeDigest(hold), reviewer };
    const review = say(world, plan, "review", next, alter.heldReview);
    const last = { bytes: content, prev: envelopeDigest(review), final: true };
    const countersign = say(world, plan, "countersign", last, alter.heldCountersign);
    return { ...chain, held: { hold, review, countersign, content } };
  }
  let last = claim;
  for (const [index, content] of plan.windows.entries()) {
    const final = index === plan.windows.length - 1;
    const facts = { bytes: content, index, final, prev: envelopeDigest(last) };
    last = say(world, plan, "door2", facts, alter[`window${index}`]);
    chain.windows.push({ envelope: last, content });
  }
  return chain;
}

export function verifierFor(world: World, plan: Plan, overrides: Partial<TicketContext> = {}): TicketVerifier {
  return new TicketVerifier({
    trust: world.trust,
    requestId: plan.requestId,
    tenant: plan.tenant,
    attempt: plan.attempt,
    modality: plan.modality,
    requestDigest: saltedDigest(plan.salt, plan.request),
    salt: plan.salt,
    clock: () => NOW,
    approvedModel: (digest) => digest === MODEL,
    ...overrides,
  });
}

/** What a gateway would do with the chain: returns what it would have written, in order, before any refusal. */
export function follow(verifier: TicketVerifier, chain: Chain): { released: Uint8Array[]; error?: unknown } {
  const released: Uint8Array[] = [];
  try {
    const [door1, review, countersign] = chain.admission;
    verifier.admit(door1!, review && { review, countersign: countersign! });
    verifier.claim(chain.claim);
    for (const { envelope, content } of chain.windows) {
      verifier.window(envelope, content);
      released.push(content);
    }
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
