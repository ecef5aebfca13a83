/** All that can be known of what happened, read once: from the ledger, the log, the review queue, and the callers themselves. */
import type { RequestSecret, TrustBundle } from "@sallyport/attestation";
import { waitFor } from "@sallyport/runtime/testing";
import type { OpenedCheckpoint } from "@sallyport/tlog";
import {
  type Call,
  type grpcClients,
  type HeardEvent,
  type HeardWindow,
  type LedgerRow,
  type Person,
  query,
  readRequests,
  type StoredHold,
  type StoredWindow,
  secretOf,
  storedHolds,
  storedWindows,
  type TestPlatform,
  trustOf,
  type Via,
} from "../../kit/index.ts";
import type { LoadCall } from "./load.ts";
import { type AuditLog, isTerminal, type LoggedRecord, type LogTrust } from "./log.ts";

/** What one caller heard, as plain data. */
export interface Transcript {
  via: Via;
  person: Person;
  prompt: string;
  /** How it ends while nothing is wrong. */
  expected: LoadCall["expected"];
  requestId: string | undefined;
  windows: HeardWindow[];
  events: HeardEvent[];
  state: string | undefined;
  leafHash: string | undefined;
  error: { code: string; reason: string } | undefined;
  /** The same request was asked for before, in this transcript. */
  repeats: Transcript | undefined;
}

/** What an author fetched of a request later: the release ticket has the output in it. */
export interface Fetched {
  requestId: string;
  text: string;
  ticket: string;
}

/** While it held, nothing may be heard by whom it is about. */
export interface HeldSwitch {
  readonly id: string;
  readonly affects: readonly Person[];
  /** performance.now(), as `heardAt` of a window. */
  readonly from: number;
  readonly until: number;
}

export interface Evidence {
  pauses: readonly HeldSwitch[];
  transcripts: Transcript[];
  fetched: Fetched[];
  /** The whole ledger. */
  rows: LedgerRow[];
  /** Of the requests that are looked at closely: those of this seed. */
  fresh: Set<string>;
  windows: StoredWindow[];
  holds: StoredHold[];
  secrets: Map<string, RequestSecret>;
  /** The whole log. */
  records: LoggedRecord[];
  before: OpenedCheckpoint;
  after: OpenedCheckpoint;
  consistency: Uint8Array[];
  /** The log's own proofs, by leaf hash: one for each terminal record of this seed. */
  proofs: Map<string, string>;
  /** Messages that nobody confirmed, in words. */
  outbox: string[];
  /** Requests that wait for a person, as the review queue has it. */
  queue: Set<string>;
  approvedModels: Set<string>;
  trust: TrustBundle;
  logTrust: LogTrust;
}

const outboxRoles = ["gateway", "governance", "audit"] as const;
const proofsAtOnce = 16;

export interface Sources {
  readonly sallyport: TestPlatform;
  readonly clients: ReturnType<typeof grpcClients>;
  readonly log: AuditLog;
}

export interface Happened {
  readonly calls: readonly LoadCall[];
  /** The log's head before it. */
  readonly before: OpenedCheckpoint;
  /** Requests that were there before; without them all are looked at. */
  readonly since?: ReadonlySet<string>;
  readonly pauses?: readonly HeldSwitch[];
}

export async function gather(
  { sallyport, clients, log }: Sources,
  { calls, before, since = new Set(), pauses = [] }: Happened,
): Promise<Evidence> {
  const { platform } = sallyport;
  const rows = await readRequests(platform);
  const looked = rows.filter(({ id }) => !since.has(id));
  const ids = looked.map(({ id }) => id);
  const records = [...(await log.records())];
  const after = await log.checkpoint();
  const items = await query<{ id: string }>(
    platform,
    "governance",
    "SELECT request_id AS id FROM items WHERE state IN ('open', 'second_review')",
  );
  const models = await query<{ digest: string }>(
    platform,
    "governance",
    "SELECT digest FROM models WHERE state = 'approved'",
  );
  return {
    pauses,
    transcripts: calls.flatMap(transcribe),
    fetched: await fetchReleased({ sallyport, clients }, calls, looked),
    rows,
    fresh: new Set(ids),
    windows: await storedWindows(platform, ids),
    holds: await storedHolds(platform, ids),
    secrets: new Map(await Promise.all(looked.map(async (row) => [row.id, await secretOf(platform, row)] as const))),
    records,
    before,
    after,
    consistency: await log.consistency(before, after),
    proofs: await proofsOf(log, records, new Set(ids)),
    outbox: await outboxes(sallyport),
    queue: new Set(items.map(({ id }) => id)),
    approvedModels: new Set(models.map(({ digest }) => digest)),
    trust: trustOf(platform),
    logTrust: log.trust,
  };
}

/** What lies in the outboxes: whose, where to, and how often it was sent. */
export async function outboxes({ platform }: TestPlatform): Promise<string[]> {
  const sql = `SELECT subject, attempts, round(extract(epoch FROM now() - created_at)) AS age,
    round(extract(epoch FROM due_at - now())) AS due FROM outbox ORDER BY id LIMIT 100`;
  type Waiting = { subject: string; attempts: number; age: string; due: string };
  const found = outboxRoles.map(async (role) => {
    const rows = await query<Waiting>(platform, role, sql);
    return rows.map(
      ({ subject, attempts, age, due }) =>
        `${role} to ${subject}, ${age} s old, sent ${attempts} times, again in ${due} s`,
    );
  });
  return (await Promise.all(found)).flat();
}

function transcribe({ call, again, ...asked }: LoadCall): Transcript[] {
  const first = transcriptOf(call, { ...asked, repeats: undefined });
  return again ? [first, transcriptOf(again, { ...asked, repeats: first })] : [first];
}

function transcriptOf(call: Call, asked: Pick<Transcript, "person" | "prompt" | "expected" | "repeats">): Transcript {
  const { via, requestId, state, leafHash, error } = call;
  return { ...asked, via, requestId, windows: call.windows, events: call.events, state, leafHash, error };
}

/** As its author, everything of this seed that was released after a hold, and a part of the rest. */
async function fetchReleased(
  { sallyport, clients }: Pick<Sources, "sallyport" | "clients">,
  calls: readonly LoadCall[],
  rows: readonly LedgerRow[],
): Promise<Fetched[]> {
  const authors = new Map(calls.map(({ call, person }) => [call.requestId, person]));
  const wanted = rows.filter(({ id, state, holdStage }, at) => {
    return state === "released" && authors.has(id) && (holdStage !== null || at % 4 === 0);
  });
  return await Promise.all(
    wanted.map(async ({ id: requestId }) => {
      const options = { bearer: sallyport.token(authors.get(requestId)!), deadlineMs: 10_000 };
      // A switch that was just lifted may hold for a moment yet.
      const { output, ticket } = await waitFor("an output", () =>
        clients.generation.getRequest({ requestId }, options),
      );
      return { requestId, text: output.map(({ text }) => text).join(""), ticket: Buffer.from(ticket).toString() };
    }),
  );
}

async function proofsOf(
  log: AuditLog,
  records: readonly LoggedRecord[],
  fresh: ReadonlySet<string>,
): Promise<Map<string, string>> {
  const wanted = records.filter((record) => isTerminal(record) && fresh.has(record.request?.id ?? ""));
  const proofs = new Map<string, string>();
  for (let at = 0; at < wanted.length; at += proofsAtOnce) {
    const some = wanted.slice(at, at + proofsAtOnce);
    const found = await Promise.all(some.map((record) => log.proofOf(record)));
    found.forEach((proof, i) => void proofs.set(some[i]!.leaf, proof));
  }
  return proofs;
}
