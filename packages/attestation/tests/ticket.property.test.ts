import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { encodeReleaseTicket, envelopeDigest, saltedDigest, TicketError, verifyReleaseTicket } from "../src/index.ts";
import { createChain, createWorld, follow, MODEL, NOW, type Plan, say, sentOf, verifierFor } from "./fixture.ts";
import {
  type Attack,
  altered,
  FIELD_CHANGES,
  flipBit,
  type Mutation,
  OTHERS,
  pick,
  places,
  rewritten,
  SIGNERS,
} from "./mutations.ts";

const world = createWorld();
const RUNS = 30;
let refused = 0;

const name = fc.stringMatching(/^[a-z0-9]{1,12}$/);
const plans: fc.Arbitrary<Plan> = fc.record({
  requestId: name,
  tenant: name,
  attempt: fc.integer({ min: 1, max: 9 }),
  runId: name,
  modality: fc.constantFrom("text" as const, "image" as const),
  salt: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  request: fc.uint8Array({ maxLength: 64 }),
  sent: fc.uint8Array({ maxLength: 64 }),
  windows: fc.array(fc.uint8Array({ maxLength: 32 }), { minLength: 1, maxLength: 5 }),
  admission: fc.constantFrom("allow" as const, "sanitise" as const, "hold" as const),
  release: fc.constantFrom("windows" as const, "windows" as const, "person" as const),
});
const draws = fc.record({ plan: plans, a: fc.nat(), b: fc.nat() });

/** Every mutated chain must be refused, by the live verifier and offline, having released only true bytes, in order. */
function promise(title: string, mutate: Mutation) {
  test(title, () => {
    const property = fc.property(draws, ({ plan, a, b }) => {
      const attack = mutate({ chain: createChain(world, plan), a, b });
      fc.pre(attack !== undefined);
      const { released, error } = follow(verifierFor(world, plan, attack.overrides), attack.chain);
      expect(error).toBeInstanceOf(TicketError);
      const truth = plan.release === "person" ? [Buffer.concat(plan.windows)] : plan.windows;
      expect(released.map((bytes) => [...bytes])).toEqual(truth.slice(0, released.length).map((bytes) => [...bytes]));
      expect(() => offline(plan, attack)).toThrow(TicketError);
      refused += 1;
    });
    // fast-check prints the seed and the path of a failure.
    fc.assert(property, { numRuns: RUNS, maxSkipsPerRun: 1_000 });
  });
}

function offline(plan: Plan, { chain, overrides = {} }: Attack) {
  const { requestId, tenant, attempt, modality, salt, request } = plan;
  const { admission, claim, windows, lastMark, held } = chain;
  const requestDigest = overrides.requestDigest ?? saltedDigest(salt, request);
  const about = { requestId, tenant, attempt, modality, salt, requestDigest };
  const json = encodeReleaseTicket({ ...about, admission, claim, windows, lastMark, held });
  const approvedModel = overrides.approvedModel ?? ((digest: string) => digest === MODEL);
  const { clock = () => NOW, sent = sentOf(plan) } = overrides;
  return verifyReleaseTicket(json, world.trust, { clock, sent, approvedModel });
}

test("an untouched chain is released byte for byte, live and offline", () => {
  const property = fc.property(plans, (plan) => {
    const chain = createChain(world, plan);
    const { released, error } = follow(verifierFor(world, plan), chain);
    expect(error).toBeUndefined();
    expect(Buffer.concat(released)).toEqual(Buffer.concat(plan.windows));
    const report = offline(plan, { chain });
    expect(report.outcome).toBe(plan.release === "person" ? "released-by-person" : "complete");
    expect(report.bytes).toBe(Buffer.concat(plan.windows).length);
  });
  fc.assert(property, { numRuns: 200 });
});

describe("forged: refused when", () => {
  promise("one bit of a payload or signature differs", ({ chain, a, b }) => {
    const target = pick(places(chain), a);
    const { payload, signatures } = target.envelope;
    const [signature] = signatures;
    const changes =
      b % 2 === 0
        ? { payload: flipBit(payload, b >> 1) }
        : { signatures: [{ ...signature!, sig: flipBit(signature!.sig, b >> 1) }] };
    return { chain: target.with({ ...target.envelope, ...changes }) };
  });
  promise("a payload is rewritten under its old signature", ({ chain, a, b }) => {
    const target = pick(places(chain), a);
    return { chain: target.with(rewritten(target.envelope, b)) };
  });
  promise("a signature is missing or doubled, or names another key or type", ({ chain, a, b }) => {
    const target = pick(places(chain), a);
    const { signatures } = target.envelope;
    const wrongs = [
      { signatures: [] },
      { signatures: [...signatures, ...signatures] },
      { signatures: [{ ...signatures[0]!, keyid: world.strangers.door2.keyid }] },
      { payloadType: "application/vnd.sallyport.state+json" },
    ];
    return { chain: target.with({ ...target.envelope, ...pick(wrongs, b) }) };
  });
  for (const [title, signerFor] of Object.entries(SIGNERS)) {
    promise(`${title} signs any of its statements`, (draw) => {
      const { place, stage } = pick(places(draw.chain), draw.a);
      return altered(world, draw, place, { signer: signerFor(world, stage, draw.b) });
    });
  }
});

describe("altered: refused when a rightly signed statement differs in", () => {
  for (const [title, change] of Object.entries(FIELD_CHANGES)) {
    promise(title, (draw) => altered(world, draw, pick(places(draw.chain), draw.a).place, { change }));
  }
  promise("its bytes: one bit flipped, one byte more, cut short", ({ chain, a, b }) => {
    const change = (bytes: Uint8Array) =>
      pick([() => flipBit(bytes, a), () => Buffer.concat([bytes, Buffer.of(a)]), () => bytes.subarray(1)], b)();
    if (chain.held !== undefined) {
      const content = change(chain.held.content);
      return same(content, chain.held.content) ? undefined : { chain: { ...chain, held: { ...chain.held, content } } };
    }
    const i = a % chain.windows.length;
    const window = chain.windows[i]!;
    const content = change(window.content);
    return same(content, window.content)
      ? undefined
      : { chain: { ...chain, windows: chain.windows.with(i, { ...window, content }) } };
  });
});

describe("out of its place: refused when", () => {
  promise("two envelopes change places", ({ chain, a, b }) => {
    const list = places(chain);
    const [one, two] = [a % list.length, b % list.length];
    if (one === two) return undefined;
    const half = list[one]!.with(list[two]!.envelope);
    return { chain: places(half)[two]!.with(list[one]!.envelope) };
  });
  promise("an envelope stands where another belongs", ({ chain, a, b }) => {
    const list = places(chain);
    const [target, source] = [pick(list, a), pick(list, b)];
    return target === source ? undefined : { chain: target.with(source.envelope) };
  });
  promise("windows come in another order", ({ chain, a }) => {
    const { windows } = chain;
    if (windows.length < 2) return undefined;
    const i = a % (windows.length - 1);
    return { chain: { ...chain, windows: windows.with(i, windows[i + 1]!).with(i + 1, windows[i]!) } };
  });
  promise("a window is shown twice", ({ chain, a }) => {
    const { windows } = chain;
    if (windows.length === 0) return undefined;
    const i = a % windows.length;
    return { chain: { ...chain, windows: windows.toSpliced(i + 1, 0, windows[i]!) } };
  });
  promise("a window is left out", ({ chain, a }) => {
    const { windows } = chain;
    return windows.length < 2
      ? undefined
      : { chain: { ...chain, windows: windows.toSpliced(a % (windows.length - 1), 1) } };
  });
  promise("a well-linked window follows the final one", ({ chain }) => {
    const { plan, windows } = chain;
    if (windows.length === 0) return undefined;
    const content = Buffer.from("more");
    const prev = envelopeDigest(windows.at(-1)!.envelope);
    const facts = { bytes: content, index: windows.length };
    const mark =
      plan.modality === "image" ? say(world, plan, "watermarker", { ...facts, prev, decision: "claim" }) : undefined;
    const envelope = say(world, plan, "door2", { ...facts, prev: mark ? envelopeDigest(mark) : prev });
    return { chain: { ...chain, windows: [...windows, { envelope, content, mark }] } };
  });
  promise("a statement of a person's release is left out", ({ chain, a }) => {
    const shorter = { ...chain, admission: chain.admission.slice(0, 1 + (a % 2)) };
    return chain.admission.length === 3 ? { chain: shorter } : undefined;
  });
  promise("a final flag is set early, or missing on a held whole", (draw) => {
    const list = places(draw.chain).filter(({ place }) => /^(window|hold)/.test(place));
    const { place } = pick(list, draw.a);
    if (place === `window${draw.chain.windows.length - 1}`) return undefined;
    return altered(world, draw, place, { change: ({ final }) => ({ final: !final }) });
  });
});

describe("spliced: refused when a part comes from", () => {
  for (const [title, other] of Object.entries(OTHERS)) {
    promise(title, ({ chain, a }) => {
      const stranger = createChain(world, other(chain.plan));
      const list = places(chain);
      // From the first statement that differs but for its prev: with the whole of another run it is a valid chain.
      const from = chain.admission.length + (title === "another run of the same attempt" ? 1 : 0);
      const at = from + (a % (list.length - from));
      const tail = places(stranger).slice(at);
      const spliced = tail.reduce((so, { envelope }, i) => places(so)[at + i]!.with(envelope), chain);
      return { chain: spliced };
    });
    if (title === "another run of the same attempt") continue;
    promise(`${title}, whole`, ({ chain }) => ({ chain: createChain(world, other(chain.plan)) }));
  }
});

describe("judged by another verifier: refused when", () => {
  promise("the time has passed", ({ chain, a }) => ({
    chain,
    overrides: { clock: () => new Date(NOW.getTime() + 60_000 + (a % 1_000_000)) },
  }));
  promise("the clock gives no time", ({ chain }) => ({ chain, overrides: { clock: () => new Date(Number.NaN) } }));
  promise("the model is not approved", ({ chain }) => ({ chain, overrides: { approvedModel: () => false } }));
  promise("another request was sent", ({ chain, a }) => {
    const sent = flipBit(Buffer.concat([sentOf(chain.plan), Buffer.of(1)]), a);
    return { chain, overrides: { sent, sentDigest: saltedDigest(chain.plan.salt, sent) } };
  });
  promise("another request was accepted", ({ chain, a }) => ({
    chain,
    overrides: {
      requestDigest: saltedDigest(chain.plan.salt, flipBit(Buffer.concat([chain.plan.request, Buffer.of(1)]), a)),
    },
  }));
});

test("a ticket whose end is cut off is refused offline, unless a broken-off attempt is asked for", () => {
  const property = fc.property(plans, (plan) => {
    const chain = createChain(world, plan);
    fc.pre(chain.windows.length > 1);
    const cut = { ...chain, windows: chain.windows.slice(0, -1) };
    expect(() => offline(plan, { chain: cut })).toThrow(expect.objectContaining({ code: "TRUNCATED" }));
    refused += 1;
  });
  fc.assert(property, { numRuns: RUNS });
});

afterAll(() => {
  expect(refused, "mutations refused").toBeGreaterThanOrEqual(1_000);
  console.log(`${refused} mutated chains refused, each live and offline`);
});

function same(one: Uint8Array, two: Uint8Array): boolean {
  return Buffer.compare(one, two) === 0;
}
