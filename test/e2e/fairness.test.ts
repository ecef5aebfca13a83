/**
 * Fair turns on a running platform: one tenant's flood of a slow model, and how long it keeps others waiting. Counted in turns,
 * so that it does not depend on the machine; what was measured is printed.
 */
import { Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  bootPlatform,
  type ChatServer,
  grpcClients,
  mint,
  query,
  serveSlowModel,
  slowModel,
  startSlowServer,
  type TestPlatform,
} from "../kit/index.ts";

const places = 8;
const each = 96;
const jobsAhead = Number(process.env.SALLYPORT_TEST_JOBS_AHEAD ?? 4);
/** However quickly the jobs before were begun, of the one gateway here. */
const mostAhead = 8 * jobsAhead;

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
let chamber: ChatServer;
beforeAll(async () => {
  chamber = await startSlowServer();
  sallyport = await bootPlatform("fairness", {
    remoteEndpoints: { [slowModel]: chamber.url },
    extraEnv: {
      gateway: { JOBS_AHEAD: String(jobsAhead) },
      "inference-worker": { REMOTE_SEQUENCES: String(places) },
    },
  });
  clients = grpcClients(sallyport.platform);
  await serveSlowModel(sallyport, clients);
  // A second for an answer.
  chamber.say("word ".repeat(40), 25);
}, 180_000);
afterAll(async () => {
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
  await chamber?.[Symbol.asyncDispose]();
}, 60_000);

const bearerOf = (tenant: string, sub: string) => mint(sallyport, { claims: { sub, tenant } });

/** `heard` is called with its first text; false, and its caller leaves as soon as it is accepted, with a key so that it goes on. */
async function ask(bearer: string, content: string, stays: boolean): Promise<void> {
  const asked = { content: { model: slowModel, messages: [{ role: Role.USER, content }] } };
  const gone = new AbortController();
  const call = { bearer, deadlineMs: 100_000, signal: gone.signal };
  for await (const { event } of clients.generation.chat({ ...asked, idempotencyKey: content }, call)) {
    if (event.case === (stays ? "window" : "accepted")) break;
  }
  gone.abort();
}

interface Measured {
  waitedMs: number;
  /** Other jobs that the model was given since. */
  turns: number;
}

async function measure(bearer: string, name: string): Promise<Measured> {
  const [from, startedAt] = [chamber.heard.length, performance.now()];
  await ask(bearer, name, true);
  return { waitedMs: Math.round(performance.now() - startedAt), turns: chamber.heard.slice(from).indexOf(name) };
}

const queued = async () => {
  const sql = "SELECT count(*)::integer AS count FROM requests WHERE state = 'queued'";
  return (await query<{ count: number }>(sallyport.platform, "gateway", sql))[0]!.count;
};

describe(`beside ${3 * each} requests of a tenant's three identities for a model of ${places} places`, () => {
  let flooded = 0;
  beforeAll(async () => {
    const people = ["ann", "bea", "cat"];
    const bearers = await Promise.all(people.map((person) => bearerOf("flood", person)));
    for (let round = 0; round < each; round += 8) {
      const names = people.flatMap((person, at) =>
        Array.from({ length: 8 }, (_, n) => [`${person}-${round + n}`, bearers[at]!] as const),
      );
      await Promise.all(names.map(([name, bearer]) => ask(bearer, name, false)));
    }
    flooded = await queued();
    expect(flooded).toBeGreaterThan(100);
  }, 90_000);

  test("another tenant's first text comes after the few that lie ahead", async () => {
    const { waitedMs, turns } = await measure(await bearerOf("other", "zoe"), "zoe");
    console.info(`with ${flooded} waiting, another tenant's first text after ${waitedMs} ms and ${turns} other jobs`);
    expect(turns).toBeLessThanOrEqual(mostAhead);
  }, 110_000);

  test("so does that of another identity of the same tenant", async () => {
    const waiting = await queued();
    const { waitedMs, turns } = await measure(await bearerOf("flood", "dee"), "dee");
    console.info(`with ${waiting} waiting, another identity's first text after ${waitedMs} ms and ${turns} other jobs`);
    expect(turns).toBeLessThanOrEqual(mostAhead);
  }, 110_000);
});
