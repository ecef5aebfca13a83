/**
 * Seeded faults of every kind over a mixed load, and after each seed the checker's word on the promises. And the checker
 * itself: what it cannot find would be worth nothing.
 */
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chatByGrpc } from "../kit/index.ts";
import { corruptions } from "./checker/corruptions/index.ts";
import { check } from "./checker/index.ts";
import { runSeed, type SeedReport } from "./seeded/run-seed.ts";
import { kinds } from "./seeded/schedule.ts";
import { describeSeed, describeViolations } from "./seeded/words.ts";
import { createWorld, type World } from "./seeded/world.ts";
import { mulberry32, pick } from "./support/random.ts";
import { findSecrets } from "./support/secrets.ts";

const given = process.env.SALLYPORT_TEST_SEED;
const seeds = given === undefined ? Array.from({ length: 20 }, (_, at) => at + 1) : [Number(given)];

/** Of each corruption; `checker/checker.test.ts` tries all of them on evidence that is made up. */
const triedWays = 8;

let world: World;
const reports: SeedReport[] = [];
beforeAll(async () => {
  world = await createWorld();
  if (typeof world.disks === "string") console.info(`no faults of disks: ${world.disks}`);
}, 180_000);
afterAll(() => world?.[Symbol.asyncDispose](), 120_000);

describe("whatever happens, every promise is kept", () => {
  test.each(seeds)(
    "seed %i",
    async (seed) => {
      const report = await runSeed(world, seed);
      reports.push(report);
      console.info(describeSeed(report));
      expect(report.violations, describeViolations(report)).toEqual([]);
    },
    300_000,
  );

  test("and it did happen: each kind of fault took place, and every kind of request was made", (context) => {
    if (given !== undefined) context.skip("one seed has only some kinds");
    const steps = reports.flatMap((report) => report.steps);
    const possible = kinds.filter((kind) => kind.impossible?.(world) === undefined);
    const seen = new Set(steps.filter(({ missed }) => missed === undefined).map(({ name }) => name));
    expect(possible.map(({ name }) => name).filter((name) => !seen.has(name))).toEqual([]);
    const states = new Set(reports.flatMap((report) => Object.keys(report.states)));
    expect([...states]).toEqual(expect.arrayContaining(["released", "blocked", "held", "cancelled"]));
    expect(reports.reduce((sum, { heard }) => sum + heard, 0)).toBeGreaterThan(10_000);
  });

  test("no service's log holds a token, a key, a prompt or an answer", async () => {
    const found = await findSecrets(
      world.sallyport.platform,
      reports.flatMap(({ evidence }) => evidence),
    );
    expect(found.searched).toBeGreaterThan(100);
    expect(found.lines).toBeGreaterThan(100);
    expect(found.leaks).toEqual([]);
  }, 60_000);
});

describe("what seeds had found", () => {
  test("a bus whose disk was full takes messages again once there is room, without anybody's help", async ({
    skip,
  }) => {
    const { disks, sallyport, clients } = world;
    if (typeof disks === "string") return skip(disks);
    const ask = () => chatByGrpc(sallyport, clients, { content: "Hello", maxTokens: 8 }, { deadlineMs: 20_000 }).done;
    const free = disks.nats.fill();
    try {
      expect(await ask()).toMatchObject({ text: "", error: { code: expect.any(String) } });
    } finally {
      free();
    }
    await waitFor("an answer", async () => (await ask()).state === "released", { timeoutMs: 60_000 });
  }, 120_000);
});

describe("the checker finds", { timeout: 60_000 }, () => {
  test.for(corruptions)("$what", ({ what, promise, ways }, { skip }) => {
    const random = mulberry32([...what].reduce((sum, char) => sum + char.charCodeAt(0), 0));
    const all = reports.flatMap(({ evidence }) => ways(evidence));
    if (all.length === 0 && given !== undefined) skip("this seed has nothing to spoil so");
    expect(all.length, "ways to spoil so in any seed").toBeGreaterThan(0);
    for (let tried = 0; tried < triedWays; tried++) {
      const found = check(pick(random, all)()).map((violation) => violation.promise);
      expect(found).toContain(promise);
    }
  });
});
