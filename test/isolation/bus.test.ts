/** Each service's own NATS credentials, against the running server: exactly the flows of infra/flows.ts, both ways. */
import { type Flow, flows } from "@sallyport/infra/flows";
import { buckets, ownConsumers, type ServiceName, services, streams, subjects } from "@sallyport/proto/subjects";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATEWAY_ID } from "../../infra/local/services.ts";
import { type BusUser, bootPlatform, connectAs, type TestPlatform } from "../kit/index.ts";

let sallyport: TestPlatform;
const users = new Map<ServiceName, BusUser>();
const as = (service: ServiceName) => users.get(service)!;
beforeAll(async () => {
  sallyport = await bootPlatform("bus", { services: [] });
  for (const service of services) users.set(service, await connectAs(sallyport.platform, service));
}, 120_000);
afterAll(async () => {
  for (const user of users.values()) await user[Symbol.asyncDispose]();
  await sallyport?.[Symbol.asyncDispose]();
}, 60_000);

const says = (service: ServiceName, what: string) =>
  flows.some((flow: Flow) => flow.from === service && flow.protocol === "nats" && flow.what.includes(what));
const outcome = (allowed: boolean) => (allowed ? "allowed" : "refused");

/** One subject of each family, and what the table calls writing to it. */
const families = [
  { subject: subjects.job("nobody", "probe"), what: "publish JOBS" },
  { subject: subjects.window("probe"), what: "publish WINDOWS" },
  { subject: subjects.verdict(GATEWAY_ID, "probe"), what: "publish VERDICTS" },
  { subject: subjects.held("probe"), what: "publish HELD" },
  { subject: subjects.decision("probe"), what: "publish DECISIONS" },
  { subject: subjects.dead("JOBS", "probe"), what: "publish DEAD" },
  { subject: subjects.control("probe"), what: "publish control" },
  { subject: subjects.confirm("gateway"), what: "publish confirm" },
  { subject: subjects.telemetry("inference-worker"), what: "publish telemetry" },
  { subject: "$KV.policy.active", what: "put KV policy" },
  { subject: "$KV.models.manifest", what: "put KV models" },
  { subject: "$KV.switches.active", what: "put KV switches" },
  { subject: "$KV.credentials.tokens-0", what: "put KV credentials" },
];
const writes = services.flatMap((service) =>
  families.map(({ subject, what }) => ({ service, subject, expected: outcome(says(service, what)) })),
);

describe("a service writes what the table says, and nothing else", () => {
  test.each(writes)("$service to $subject: $expected", async ({ service, subject, expected }) => {
    expect(await as(service).publish(subject, "probe")).toBe(expected);
  });

  test.each(services)("%s tells telemetry in no other service's name", async (service) => {
    for (const other of services.filter((name) => name !== service))
      expect(await as(service).publish(subjects.telemetry(other), "probe")).toBe("refused");
  });

  const names = services.flatMap((service) => services.map((producer) => ({ service, producer })));
  test.each(names)("$service in the name of $producer to the audit log", async ({ service, producer }) => {
    const expected = outcome(service === producer && says(service, "publish AUDIT"));
    expect(await as(service).publish(subjects.audit(producer, "probe"), "probe")).toBe(expected);
  });
});

const consumers = [
  ...Object.values(streams).flatMap(({ name, consumers }) =>
    consumers.map((consumer) => ({ stream: name, consumer: consumer.name, owner: consumer.service })),
  ),
  { stream: "JOBS", consumer: ownConsumers.job("pilot-text").name, owner: "inference-worker" as const },
  { stream: "VERDICTS", consumer: ownConsumers.verdict(GATEWAY_ID).name, owner: "gateway" as const },
];
const reads = services.flatMap((service) =>
  consumers.map(({ stream, consumer, owner }) => ({ service, stream, consumer, expected: outcome(owner === service) })),
);

describe("a service reads its own consumers, and no other", () => {
  test.each(reads)("$service from $stream/$consumer: $expected", async ({ service, stream, consumer, expected }) => {
    const body = JSON.stringify({ batch: 1, no_wait: true });
    expect(await as(service).publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, body)).toBe(expected);
    // Who acknowledges another's message makes it vanish.
    if (expected === "refused")
      expect(await as(service).publish(`$JS.ACK.${stream}.${consumer}.1.1.1.1.0`)).toBe(expected);
  });

  test("the table names each of these consumers with its owner", () => {
    for (const { stream, consumer, owner } of consumers) {
      const own = ["JOBS", "VERDICTS"].includes(stream);
      if (!own) expect(says(owner, `consume ${stream}/${consumer}`), `${stream}/${consumer}`).toBe(true);
    }
  });

  test.each(services)("%s makes no consumer on what it may not read", async (service) => {
    for (const {
      name,
      subjects: [filter],
    } of Object.values(streams)) {
      const made = await as(service).publish(`$JS.API.CONSUMER.CREATE.${name}.spy.${filter}`, "{}");
      // The worker names its consumers after models, within JOBS.
      expect(made, name).toBe(outcome(service === "inference-worker" && name === "JOBS"));
    }
  });

  const gets = services.flatMap((service) => Object.keys(streams).map((stream) => ({ service, stream })));
  test.each(gets)(
    "$service takes messages straight out of $stream only to replay windows",
    async ({ service, stream }) => {
      const replays = service === "post-moderator" && stream === "WINDOWS";
      expect(await as(service).publish(`$JS.API.DIRECT.GET.${stream}`, '{"seq":1}')).toBe(outcome(replays));
      expect(await as(service).publish(`$JS.API.STREAM.MSG.GET.${stream}`, '{"seq":1}')).toBe("refused");
    },
  );

  const states = services.flatMap((service) =>
    Object.values(buckets).map((bucket) => ({ service, bucket: bucket.name })),
  );
  test.each(states)("$service reads signed state $bucket only where the table says so", async ({ service, bucket }) => {
    const allowed = says(service, `watch KV ${bucket}`) || says(service, `put KV ${bucket}`);
    const subject = `$JS.API.DIRECT.GET.KV_${bucket}.$KV.${bucket}.any`;
    expect(await as(service).publish(subject)).toBe(outcome(allowed));
    expect(await as(service).subscribe(`$KV.${bucket}.>`)).toBe(outcome(allowed));
  });
});

describe("nobody listens in", () => {
  const everything = [">", "*", "*.>", "_INBOX_*.>", "$JS.>", "$KV.>", "$SYS.>", "$JS.EVENT.>"];
  test.each(services)("%s cannot subscribe to everything", async (service) => {
    for (const subject of everything) expect(await as(service).subscribe(subject), subject).toBe("refused");
  });

  test.each(services)("%s hears no stream's subjects, and no other's inbox", async (service) => {
    for (const { subjects: all } of Object.values(streams)) {
      for (const subject of all) expect(await as(service).subscribe(subject), subject).toBe("refused");
    }
    for (const other of services) {
      const expected = outcome(other === service);
      expect(await as(service).subscribe(`_INBOX_${other}.>`), other).toBe(expected);
    }
  });

  test.each(services)("%s hears the signals that are for it", async (service) => {
    expect(await as(service).subscribe("control.*")).toBe(outcome(says(service, "subscribe control")));
    for (const producer of services) {
      const allowed = producer === service && says(service, "subscribe confirm");
      expect(await as(service).subscribe(subjects.confirm(producer)), producer).toBe(outcome(allowed));
    }
  });
});

describe("nobody changes the bus itself", () => {
  const verbs = [
    "STREAM.DELETE",
    "STREAM.PURGE",
    "STREAM.MSG.DELETE",
    "STREAM.UPDATE",
    "STREAM.CREATE",
    "STREAM.SNAPSHOT",
    "STREAM.RESTORE",
  ];
  test.each(services)("%s deletes, purges, edits and copies no stream", async (service) => {
    for (const stream of [...Object.keys(streams), ...Object.keys(buckets).map((name) => `KV_${name}`)]) {
      for (const verb of verbs)
        expect(await as(service).publish(`$JS.API.${verb}.${stream}`, "{}"), `${verb} ${stream}`).toBe("refused");
    }
    for (const subject of [
      "$JS.API.STREAM.LIST",
      "$JS.API.STREAM.NAMES",
      "$JS.API.ACCOUNT.PURGE.X",
      "$SYS.REQ.SERVER.PING",
    ]) {
      expect(await as(service).publish(subject), subject).toBe("refused");
    }
  });

  test.each(services)("%s deletes no consumer, not even its own", async (service) => {
    for (const { stream, consumer } of consumers) {
      expect(await as(service).publish(`$JS.API.CONSUMER.DELETE.${stream}.${consumer}`)).toBe("refused");
    }
  });
});

describe("the operator's own user", () => {
  let operator: BusUser;
  beforeAll(async () => {
    operator = await connectAs(sallyport.platform, "operator");
  });
  afterAll(() => operator?.[Symbol.asyncDispose]());
  const key = "$KV.switches.break-glass";

  test("puts and reads the break-glass switches", async () => {
    const { stream } = (await operator.ask(key, "probe")) as { stream: string };
    expect(stream).toBe("KV_switches");
    const found = await operator.ask(`$JS.API.DIRECT.GET.KV_switches.${key}`);
    expect(Buffer.from(found as Uint8Array).toString()).toBe("probe");
  });

  test("puts nothing else, reads nothing else, hears nothing but its answers", async () => {
    const others = [...families.map(({ subject }) => subject), subjects.audit("governance", "probe"), `${key}.more`];
    for (const subject of others) expect(await operator.publish(subject, "probe"), subject).toBe("refused");
    for (const bucket of Object.keys(buckets)) {
      const get = `$JS.API.DIRECT.GET.KV_${bucket}`;
      expect(await operator.publish(get, '{"seq":1}'), bucket).toBe("refused");
      expect(await operator.publish(`${get}.$KV.${bucket}.active`), bucket).toBe("refused");
    }
    for (const verb of ["STREAM.INFO", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.GET", "STREAM.MSG.DELETE"])
      expect(await operator.publish(`$JS.API.${verb}.KV_switches`, "{}"), verb).toBe("refused");
    for (const subject of [">", "$KV.>", "$KV.switches.>", key, "_INBOX_governance.>", "control.*"])
      expect(await operator.subscribe(subject), subject).toBe("refused");
  });
});

const stored = Object.values(streams).flatMap(({ name, writers, subjects: [pattern] }) =>
  writers.map((service) => {
    const subject = name === "AUDIT" ? subjects.audit(service, "stored") : pattern.replaceAll("*", "stored");
    return { service, name, subject };
  }),
);
describe("what is allowed works", () => {
  test.each(stored)("$service's message is stored in $name", async ({ service, name, subject }) => {
    const { stream, seq } = (await as(service).ask(subject, "probe")) as { stream: string; seq: number };
    expect({ stream, stored: seq > 0 }).toEqual({ stream: name, stored: true });
  });

  test("the worker's window comes out where door 2 reads it", async () => {
    const question = JSON.stringify({ last_by_subj: "windows.stored.stored" });
    const found = await as("post-moderator").ask("$JS.API.DIRECT.GET.WINDOWS", question);
    expect(Buffer.from(found as Uint8Array).toString()).toBe("probe");
  });
});
