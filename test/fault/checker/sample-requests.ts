/** Requests of every kind that a day has, made up: their rows, windows and holds, signed and sealed as the real ones. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  createRequestSecret,
  type Envelope,
  encodeReleaseTicket,
  type RequestSecret,
  saltedDigest,
  seal,
} from "@sallyport/attestation";
import { AdmissionSchema, EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { FinishReason, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import {
  type Chain,
  contextOf,
  createChain,
  MODEL,
  type Plan,
  plan as plainPlan,
  say,
  utf8,
  type World,
} from "../../../packages/attestation/tests/fixture.ts";
import type { LedgerRow, StoredHold, StoredWindow } from "../../kit/index.ts";

export interface Asked {
  readonly id: string;
  readonly state: LedgerRow["state"];
  /** What door 1 said. */
  readonly admission: Plan["admission"] | "deny";
  /** What door 2 let go, in windows; the last one ends the answer where that was released by itself. */
  readonly texts?: readonly string[];
  /** The whole output that door 2 held. */
  readonly held?: string;
  /** A person let it go. */
  readonly allowed?: boolean;
}

export interface Made {
  readonly row: LedgerRow;
  readonly secret: RequestSecret;
  readonly windows: StoredWindow[];
  readonly holds: StoredHold[];
  /** As a caller by gRPC has them. */
  readonly heard: { text: string; exact: { attempt: number; index: number; content: Uint8Array; ticket: Envelope } }[];
  readonly whole: Made["heard"];
  /** As its author fetches it once it was released. */
  readonly ticket: string;
}

const attempt = 1;
const bytesOf = (envelope: Envelope) => Buffer.from(toBinary(EnvelopeSchema, create(EnvelopeSchema, envelope)));
const contentOf = (text: string, final = false) => {
  const finishReason = final ? FinishReason.STOP : FinishReason.UNSPECIFIED;
  return toBinary(WindowContentSchema, create(WindowContentSchema, { text, finishReason }));
};

export function makeRequest(world: World, asked: Asked): Made {
  const { id: requestId, texts = [], held, state } = asked;
  const secret = createRequestSecret();
  const about = { ...plainPlan, requestId, attempt, salt: secret.salt, request: utf8(`question ${requestId}`) };
  const admission = asked.admission === "deny" ? "allow" : asked.admission;
  const isWhole = state === "released" && held === undefined;
  const windows = texts.map((text, at) => contentOf(text, isWhole && at === texts.length - 1));
  const chain = chainOf(world, { ...about, admission, windows }, isWhole);
  const output =
    held === undefined ? undefined : makeOutput(world, { ...about, admission }, chain, contentOf(held, true));
  const sealed = (kind: "verdict" | "output", index: number, content: Uint8Array) =>
    Buffer.from(seal(secret, { requestId, kind, attempt, index }, content));
  const heard = chain.windows.map(({ envelope: ticket, content }, index) => ({
    text: texts[index]!,
    exact: { attempt, index, content, ticket },
  }));
  return {
    row: rowOf(world, asked, about, chain),
    secret,
    windows: chain.windows.map(({ envelope, content }, index) => ({
      ...{ requestId, attempt, index, envelope: bytesOf(envelope), content: sealed("verdict", index, content) },
      final: isWhole && index === texts.length - 1,
    })),
    holds: [...promptHold(asked, chain), ...outputHold(asked, output, sealed)],
    heard,
    whole: output
      ? [{ text: held!, exact: { attempt, index: 0, content: output.content, ticket: output.countersign } }]
      : [],
    ticket: ticketOf(about, chain, output),
  };
}

function ticketOf(plan: Plan, { admission, claim, windows }: Chain, held: Output | undefined): string {
  const about = { ...plan, requestDigest: saltedDigest(plan.salt, plan.request) };
  const { requestId, tenant, modality, salt, requestDigest } = about;
  const said = { requestId, tenant, attempt, modality, salt, requestDigest, admission, claim };
  return encodeReleaseTicket(held ? { ...said, windows: [], held } : { ...said, windows });
}

/** The plan's, whose last window is the end of it; or the beginning of a longer one. */
function chainOf(world: World, plan: Plan, isWhole: boolean): Chain {
  if (isWhole) return createChain(world, plan);
  const longer = createChain(world, { ...plan, windows: [...plan.windows, utf8("never sent")] });
  return { ...longer, windows: longer.windows.slice(0, -1) };
}

type Output = NonNullable<Chain["held"]>;

/** Held after windows had gone out: its chain goes on from the same claim. */
function makeOutput(world: World, plan: Plan, { claim }: Chain, content: Uint8Array): Output {
  const made = createChain(world, { ...plan, windows: [content], release: "person" });
  const sameClaim = Buffer.compare(made.claim.payload, claim.payload) === 0;
  if (!sameClaim) throw new Error("one plan, two claims");
  return made.held!;
}

function rowOf(world: World, { id, state, texts = [], held, admission }: Asked, plan: Plan, chain: Chain): LedgerRow {
  const [allow, review, countersign] = chain.admission;
  const denied = admission === "deny";
  const door1 = denied ? say(world, plan, "door1", { bytes: plan.request, decision: "deny" }) : allow!;
  const ran = !denied && (texts.length > 0 || held !== undefined || state === "failed");
  const waits = admission === "hold" && !ran;
  const job = create(JobSchema, {
    admission: create(AdmissionSchema, { door1, ...(!waits && review && { review, countersign }) }),
  });
  return {
    ...{ id, tenant: plan.tenant, subject: "someone", modelDigest: MODEL, state, attempt: ran ? attempt : 0, code: "" },
    // The log's word: it is set when that is written.
    leafHash: "",
    holdStage: held !== undefined ? "door2" : waits ? "door1" : null,
    windowsReleased: texts.length,
    requestDigest: saltedDigest(plan.salt, plan.request),
    secret: "",
    job: Buffer.from(toBinary(JobSchema, job)),
    claim: ran ? bytesOf(chain.claim) : null,
    endedAt: state === "held" ? null : contextOf(world, plan).clock(),
  };
}

function promptHold({ id, admission, allowed }: Asked, chain: Chain): StoredHold[] {
  if (admission !== "hold") return [];
  const [hold, review, countersign] = chain.admission.map(bytesOf);
  const word = allowed ? { review: review!, countersign: countersign!, allowed } : nobodysWord;
  return [{ requestId: id, stage: "door1", attempt: 0, hold: hold!, content: null, ...word }];
}

function outputHold(
  { id, allowed }: Asked,
  output: Output | undefined,
  sealed: (kind: "output", index: number, content: Uint8Array) => Buffer,
): StoredHold[] {
  if (!output) return [];
  const { hold, review, countersign, content } = output;
  const word = allowed ? { review: bytesOf(review), countersign: bytesOf(countersign), allowed } : nobodysWord;
  return [
    { requestId: id, stage: "door2", attempt, hold: bytesOf(hold), content: sealed("output", 0, content), ...word },
  ];
}

const nobodysWord = { review: null, countersign: null, allowed: null };
