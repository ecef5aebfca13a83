/**
 * The running platform under everything that its callers, and services that were broken into, could send: nobody is
 * answered with an internal error or not at all, no service restarts, and none keeps memory of it.
 */
import { services } from "@sallyport/proto/subjects";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, model, portsOf, type TestPlatform } from "../kit/index.ts";
import { fuzzBus } from "./campaigns/bus.ts";
import { fuzzGrpc } from "./campaigns/grpc.ts";
import { fuzzHttp } from "./campaigns/http.ts";
import { fuzzJson } from "./campaigns/json.ts";
import { fuzzSlowly } from "./campaigns/slow.ts";
import { rounds } from "./support/campaign.ts";
import { expectSound, inspectable, type Memory, memoryOf } from "./support/condition.ts";

/** Behind the block's last port. */
const inspectors = portsOf("fuzz").gatewayHttp + 60;
/** Kept of each of a service's cases after the warm-up (gateway 2,600, door 2 some hundred), 2 KB would pass it; seen: 0.2 to 2. */
const maxHeapGrowthMb = 5;
/** The allocator gives back late and in pieces: this catches what grows without bound outside the heap. */
const maxRssGrowthMb = 64;
const timeoutMs = 120_000 * rounds;

let sallyport: TestPlatform;
let ids: string[];
let before: Map<string, Memory>;

beforeAll(async () => {
  sallyport = await bootPlatform("fuzz", { extraEnv: inspectable(inspectors) });
  // Caches fill, code is compiled, pools open: only what comes after this counts as growth.
  await fuzzHttp(sallyport, 100);
  await fuzzJson(sallyport, 60);
  ids = await requestIds();
  await fuzzGrpc(sallyport, 60, ids);
  await fuzzBus(sallyport, 60, ids);
  before = await memoryOf(sallyport, inspectors);
}, 180_000);
afterAll(() => sallyport?.[Symbol.asyncDispose](), 60_000);

describe("nothing that is sent is answered with an internal error, or not at all", () => {
  test(
    "HTTP as no library would send it, while others take their time",
    async () => {
      await Promise.all([fuzzHttp(sallyport, 500), fuzzSlowly(sallyport)]);
      await expectSound(sallyport);
    },
    timeoutMs,
  );

  test(
    "JSON bodies",
    async () => {
      await fuzzJson(sallyport, 300);
      await expectSound(sallyport);
    },
    timeoutMs,
  );

  test(
    "gRPC on every port that callers reach",
    async () => {
      await fuzzGrpc(sallyport, 400, ids);
      await expectSound(sallyport);
    },
    timeoutMs,
  );

  test(
    "messages on the bus, by services that were broken into",
    async () => {
      await fuzzBus(sallyport, 300, ids);
      await expectSound(sallyport);
    },
    timeoutMs,
  );
});

/** Of a request that was released, and of one that is held. */
async function requestIds(): Promise<string[]> {
  const ask = async (content: string) => {
    const response = await sallyport.http("/v1/chat/completions", {
      body: { model, messages: [{ role: "user", content }], max_tokens: 8 },
    });
    return response.headers.get("x-request-id") ?? "";
  };
  return [await ask("Hello"), await ask("SALLYPORT-REVIEW-ME")].filter((id) => id !== "");
}

test("and no service is the larger for it", async () => {
  const after = await memoryOf(sallyport, inspectors);
  const grown = services.map((service) => {
    const [was, is] = [before.get(service)!, after.get(service)!];
    return {
      service,
      heapMb: round(is.heapMb - was.heapMb),
      rssMb: round(is.rssMb - was.rssMb),
      from: round(was.rssMb),
      to: round(is.rssMb),
    };
  });
  console.info(grown.map((each) => `fuzz memory: ${JSON.stringify(each)}`).join("\n"));
  expect(grown.filter(({ heapMb, rssMb }) => heapMb > maxHeapGrowthMb || rssMb > maxRssGrowthMb)).toEqual([]);
}, 60_000);

const round = (value: number) => Math.round(value * 10) / 10;
