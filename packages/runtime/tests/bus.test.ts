import { fromBinary } from "@bufbuild/protobuf";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { ControlMessageSchema, type DeadLetter, DeadLetterSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type ConsumerSpec, type StreamSpec, streams } from "@sallyport/proto/subjects";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bus, jsApiPermissions, type MessageMeta, type SubjectPermissions } from "../src/bus/index.ts";
import { AppError } from "../src/errors.ts";
import { createLogger } from "../src/logger.ts";
import { startTestNats, type TestNats, waitFor } from "../testing/index.ts";

const log = createLogger("test", "error");
const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`;

const work: ConsumerSpec = {
  name: "workers",
  service: "gateway",
  filter: "work.*",
  ackWaitMs: 1_500,
  maxDeliver: 3,
  maxAckPending: 500,
};
const workStream: StreamSpec = {
  ...streams.HELD,
  name: "WORK",
  subjects: ["work.*"],
  message: ControlMessageSchema,
  consumers: [work],
};

function union(...permissions: SubjectPermissions[]): SubjectPermissions {
  const all = (key: keyof SubjectPermissions) => permissions.flatMap((permission) => permission[key]);
  return { publish: all("publish"), subscribe: all("subscribe") };
}

/** The gateway of these tests has exactly what the operations say they need: a subject forgotten there fails here. */
const permissions = {
  gateway: union(
    jsApiPermissions.inbox("gateway"),
    jsApiPermissions.publish(["work.*", "own.*", "dead.*.*"]),
    jsApiPermissions.bindConsumer("WORK", "workers"),
    jsApiPermissions.bindConsumer("OWN", "mine"),
    jsApiPermissions.createConsumer("OWN", "mine", "own.*"),
    jsApiPermissions.replay("WORK"),
    jsApiPermissions.watchKv("policy"),
    jsApiPermissions.putKv("policy"),
    jsApiPermissions.signal("control.*"),
    jsApiPermissions.onSignal("control.*"),
  ),
};

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await startTestNats({ permissions });
  await provision();
  bus = await nats.bus("gateway", log);
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

async function provision(): Promise<void> {
  const own = { ...workStream, name: "OWN", subjects: ["own.*"], consumers: [] };
  await nats.provision([workStream, own, { ...streams.DEAD, consumers: [] }]);
}

let counter = 0;
const send = (subject: string, requestId: string, msgId = `m${counter++}`) =>
  bus.publish("WORK", subject, ControlMessageSchema, { requestId, code: "X" }, { msgId });

/** Collects what arrives; the handler's own work comes after. */
function collect(
  options: { concurrency?: number; orderedBy?: (subject: string) => string } = {},
  work_ = async (_: string, __: MessageMeta) => {},
) {
  const seen: { id: string; meta: MessageMeta }[] = [];
  const consumption = bus.consume(
    "WORK",
    work,
    ControlMessageSchema,
    async (message, meta) => {
      seen.push({ id: message.requestId, meta });
      await work_(message.requestId, meta);
    },
    { concurrency: 8, ...options },
  );
  return { seen, consumption, ids: () => seen.map(({ id }) => id) };
}

async function deadLetters(): Promise<DeadLetter[]> {
  const nc = await nats.admin();
  const js = jetstream(nc);
  const consumer = await js.consumers.get("DEAD", { filter_subjects: "dead.>" });
  const letters: DeadLetter[] = [];
  for (;;) {
    const message = await consumer.next({ expires: 1_000 });
    if (!message) break;
    letters.push(fromBinary(DeadLetterSchema, message.data));
  }
  await nc.close();
  return letters;
}

async function pending(): Promise<number> {
  const nc = await nats.admin();
  const { num_ack_pending, num_pending } = await (await jetstreamManager(nc)).consumers.info("WORK", "workers");
  await nc.close();
  return num_ack_pending + num_pending;
}

describe("publish and consume", () => {
  it("delivers once with its CloudEvents attributes, and acknowledges", async () => {
    const { seen, consumption } = collect();
    const first = await send("work.a", "one", "same-id");
    expect(first.duplicate).toBe(false);
    expect((await send("work.a", "one", "same-id")).duplicate).toBe(true);
    await bus.publish(
      "WORK",
      "work.b",
      ControlMessageSchema,
      { requestId: "two" },
      { msgId: "with-trace", traceparent },
    );
    await waitFor("two messages", () => seen.length === 2);
    const [one, two] = seen;
    expect(one!.meta).toMatchObject({
      subject: "work.a",
      msgId: "same-id",
      deliveryCount: 1,
      sequence: first.sequence,
    });
    expect(one!.meta.headers).toMatchObject({
      "ce-specversion": "1.0",
      "ce-source": "gateway",
      "ce-type": "sallyport.bus.v1.ControlMessage",
      "content-type": "application/protobuf",
    });
    expect(Math.abs(one!.meta.timestampMs - Date.now())).toBeLessThan(10_000);
    expect(two!.meta.traceparent).toBe(traceparent);
    await waitFor("acks", async () => (await pending()) === 0);
    expect(consumption.bound).toBe(true);
    await consumption[Symbol.asyncDispose]();
  });

  it("keeps the order of a key while keys run side by side", async () => {
    const perKey = new Map<string, number[]>();
    let running = 0;
    let most = 0;
    const { seen, consumption } = collect(
      { concurrency: 4, orderedBy: (subject) => subject },
      async (id, { subject }) => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
        perKey.set(subject, [...(perKey.get(subject) ?? []), Number(id)]);
        running -= 1;
      },
    );
    for (let n = 0; n < 100; n += 1) await send(`work.k${n % 5}`, String(n));
    await waitFor("all", () => seen.length === 100 && running === 0);
    for (const numbers of perKey.values()) expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(perKey.size).toBe(5);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
    await consumption[Symbol.asyncDispose]();
  });

  it("keeps a message alive that takes longer than its ackWait", async () => {
    const { ids, seen, consumption } = collect({}, async () => {
      await new Promise((resolve) => setTimeout(resolve, 3_500));
    });
    await send("work.slow", "slow");
    await waitFor("delivery", () => seen.length === 1);
    await waitFor("ack", async () => (await pending()) === 0);
    expect(ids()).toEqual(["slow"]);
    await consumption[Symbol.asyncDispose]();
  });

  it("tries again after a passing failure", async () => {
    let failures = 0;
    const { seen, consumption } = collect({}, async (_, meta) => {
      if (meta.deliveryCount > 1) return;
      failures += 1;
      throw new AppError("UNAVAILABLE", "later");
    });
    await send("work.retry", "retry");
    await waitFor("second delivery", () => seen.length === 2);
    expect(failures).toBe(1);
    await waitFor("ack", async () => (await pending()) === 0);
    await consumption[Symbol.asyncDispose]();
  });

  it("sends to DEAD what can never work, what failed too often, and what cannot be read", async () => {
    const { seen, consumption } = collect({}, async (id) => {
      throw id === "never"
        ? new AppError("INVALID_ARGUMENT", "no", { reason: "SENSELESS" })
        : new AppError("UNAVAILABLE", "later");
    });
    await send("work.never", "never");
    await send("work.often", "often");
    await bus.publishBytes(
      "WORK",
      "work.garbage",
      "sallyport.bus.v1.ControlMessage",
      new Uint8Array([0xff, 0xff, 0xff]),
      { msgId: "garbage" },
    );
    await bus.publishBytes("WORK", "work.other", "sallyport.bus.v1.Job", new Uint8Array(), { msgId: "other" });
    await waitFor("all settled", async () => (await pending()) === 0, { timeoutMs: 20_000 });
    const letters = await deadLetters();
    const facts = letters.map(({ stream, subject, reason, deliveries }) => ({ stream, subject, reason, deliveries }));
    expect(facts).toHaveLength(4);
    expect(facts).toContainEqual({ stream: "WORK", subject: "work.never", reason: "SENSELESS", deliveries: 1 });
    expect(facts).toContainEqual({ stream: "WORK", subject: "work.often", reason: "UNAVAILABLE", deliveries: 3 });
    expect(facts).toContainEqual({ stream: "WORK", subject: "work.garbage", reason: "UNDECODABLE", deliveries: 1 });
    expect(facts).toContainEqual({ stream: "WORK", subject: "work.other", reason: "UNDECODABLE", deliveries: 1 });
    expect(seen.filter(({ id }) => id === "often")).toHaveLength(3);
    await consumption[Symbol.asyncDispose]();
  });

  it("hands back what it has not begun when it stops, and waits for what it has", async () => {
    let finished = 0;
    const { seen, consumption } = collect({ concurrency: 1, orderedBy: () => "one" }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      finished += 1;
    });
    for (const id of ["s1", "s2", "s3"]) await send("work.stop", id);
    await waitFor("the first", () => seen.length === 1);
    await consumption[Symbol.asyncDispose]();
    expect(finished).toBe(1);
    const next = collect();
    await waitFor("the rest", () => next.ids().sort().join() === "s2,s3");
    await next.consumption[Symbol.asyncDispose]();
  });

  it("refuses a subject of another stream at once", async () => {
    const astray = bus.publish("WORK", "own.x", ControlMessageSchema, {}, { msgId: "astray" });
    await expect(astray).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "BUS_REFUSED" });
  });
});

describe("replay", () => {
  it("reads one subject from its first message, with the delivery's timestamps", async () => {
    const { seen, consumption } = collect();
    for (let n = 0; n < 600; n += 1) await send(n % 2 ? "work.replay" : "work.noise", String(n));
    await waitFor("all", () => seen.length === 600);
    const replayed: { id: string; timestampMs: number; msgId: string }[] = [];
    for await (const { message, meta } of bus.replay("WORK", "work.replay", ControlMessageSchema)) {
      replayed.push({ id: message.requestId, timestampMs: meta.timestampMs, msgId: meta.msgId });
    }
    const delivered = seen.filter(({ meta }) => meta.subject === "work.replay");
    expect(replayed).toEqual(
      delivered.map(({ id, meta }) => ({ id, timestampMs: meta.timestampMs, msgId: meta.msgId })),
    );
    expect(replayed).toHaveLength(300);
    await consumption[Symbol.asyncDispose]();
  });

  it("passes over what does not decode: one bad message must not hide the good ones of its subject", async () => {
    const nc = await nats.admin();
    await send("work.spoilt", "before");
    await nc.request("work.spoilt", new Uint8Array([0xff]));
    await send("work.spoilt", "after");
    const ids: string[] = [];
    for await (const { message } of bus.replay("WORK", "work.spoilt", ControlMessageSchema))
      ids.push(message.requestId);
    expect(ids).toEqual(["before", "after"]);
    // Leaves nothing to the tests that come after.
    const { ids: taken, consumption } = collect();
    await waitFor("both", () => taken().length === 2);
    await consumption[Symbol.asyncDispose]();
  });

  it("of an unknown subject is empty", async () => {
    for await (const _ of bus.replay("WORK", "work.unheard", ControlMessageSchema)) throw new Error("there is nothing");
  });
});

describe("signals and values", () => {
  it("arrive, and what does not decode is dropped", async () => {
    const heard: string[] = [];
    const stop = bus.onSignal("control.*", ControlMessageSchema, (message) => {
      heard.push(message.requestId);
    });
    await bus.rtt();
    const nc = await nats.admin();
    nc.publish("control.x", new Uint8Array([0xff]));
    await nc.flush();
    bus.signal("control.x", ControlMessageSchema, { requestId: "stop" });
    await waitFor("the signal", () => heard.length === 1);
    expect(heard).toEqual(["stop"]);
    stop();
    await nc.close();
  });

  it("of a bucket are read as they were put, and a missing key is undefined", async () => {
    expect(await bus.readValue("policy", "active")).toBeUndefined();
    let hints = 0;
    const stop = bus.onPut("policy", "active", () => {
      hints += 1;
    });
    await bus.rtt();
    await bus.putValue("policy", "active", new Uint8Array([1, 2]));
    expect([...(await bus.readValue("policy", "active"))!]).toEqual([1, 2]);
    await waitFor("the hint", () => hints === 1);
    stop();
  });

  it("of a bucket that the service may not read are refused", async () => {
    await expect(bus.readValue("models", "manifest")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("a server that dies", () => {
  it("and comes back delivers what was published before, between and after, without help", async () => {
    const { ids, consumption } = collect();
    await send("work.r", "before");
    await nats.kill();
    await waitFor("the disconnect", () => !bus.connected);
    await expect(
      bus.publish("WORK", "work.r", ControlMessageSchema, {}, { msgId: "x", timeoutMs: 300 }),
    ).rejects.toMatchObject({
      reason: "BUS_UNAVAILABLE",
    });
    const between = send("work.r", "between");
    await nats.start();
    await between;
    await send("work.r", "after");
    await waitFor("all three", () => new Set(ids()).size === 3);
    await consumption[Symbol.asyncDispose]();
  });

  it("and loses everything is bound to again once it is provisioned again, own consumers too", async () => {
    const shared = collect();
    const own: string[] = [];
    const spec: ConsumerSpec = { ...work, name: "mine", filter: "own.*" };
    const mine = bus.consume("OWN", spec, ControlMessageSchema, (message) => void own.push(message.requestId), {
      concurrency: 2,
      create: true,
    });
    const sendOwn = (id: string) => bus.publish("OWN", "own.x", ControlMessageSchema, { requestId: id }, { msgId: id });
    await sendOwn("own-before");
    await waitFor("own delivery", () => own.length === 1);
    await nats.kill();
    nats.wipe();
    await nats.start();
    await waitFor("the reconnect", () => bus.connected);
    await provision();
    await send("work.w", "wiped");
    await sendOwn("own-after");
    await waitFor("both", () => shared.ids().includes("wiped") && own.includes("own-after"));
    await mine[Symbol.asyncDispose]();
    await shared.consumption[Symbol.asyncDispose]();
  });

  it("or hangs makes publishing fail in time, and goes on when it wakes", async () => {
    await nats.pause();
    const began = performance.now();
    await expect(
      bus.publish("WORK", "work.h", ControlMessageSchema, {}, { msgId: "h", timeoutMs: 500 }),
    ).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    expect(performance.now() - began).toBeLessThan(2_000);
    await nats.resume();
    await send("work.h", "h2");
  });

  it("is found again also when the clock was ahead while it was away", async () => {
    const { now } = Date;
    Date.now = () => now() + 2 * 3_600_000;
    try {
      await nats.kill();
      await waitFor("the disconnection", () => !bus.connected);
      // It has been looked for in vain, at a time that is yet to come.
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    } finally {
      Date.now = now;
    }
    await nats.start();
    await waitFor("the bus", () => bus.connected, { timeoutMs: 5_000 });
    await send("work.h", "h4");
  });

  it("or takes nothing more of what is being sent is given up all the same, and found again", async () => {
    await nats.pause();
    const large = { requestId: "x".repeat(200_000), code: "X" };
    for (let at = 0; at < 100; at += 1) bus.signal("control.large", ControlMessageSchema, large);
    // Two pings of 5 s are not answered, then what waits to be sent stands in the way of the end.
    await waitFor("the connection to be given up", () => !bus.connected, { timeoutMs: 25_000 });
    await nats.resume();
    await waitFor("the bus", () => bus.connected);
    await send("work.h", "h3");
  }, 45_000);
});

describe("a consumer deleted under a running service", () => {
  it("is found again when it is made again", async () => {
    const { ids, consumption } = collect();
    await send("work.d", "d1");
    await waitFor("d1", () => ids().includes("d1"));
    const nc = await nats.admin();
    const jsm = await jetstreamManager(nc);
    await jsm.consumers.delete("WORK", "workers");
    await waitFor("it to notice", () => !consumption.bound);
    await nc.close();
    await provision();
    await send("work.d", "d2");
    await waitFor("d2", () => ids().includes("d2"));
    await consumption[Symbol.asyncDispose]();
  });
});
