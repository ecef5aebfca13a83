/** The bus as a service that was broken into would use it: its own subjects, with messages of every wrong kind. */
import type { DescMessage } from "@bufbuild/protobuf";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { ControlMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { ownConsumers, type ServiceName, streams, subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import fc, { type Arbitrary } from "fast-check";
import { expect } from "vitest";
import { connectionOptions } from "../../../infra/local/nats/provisioner.ts";
import { GATEWAY_ID } from "../../../infra/local/services.ts";
import { model, type TestPlatform } from "../../kit/index.ts";
import { campaign } from "../support/campaign.ts";
import { messageBytes } from "../support/message.ts";

/** The server takes no more; nobody can send it. */
const maxBytes = 900_000;

interface Way {
  readonly as: ServiceName;
  readonly message: DescMessage;
  subject(requestId: string): string;
}

const ways: readonly Way[] = [
  { as: "gateway", message: streams.JOBS.message, subject: (id) => subjects.job(model, id) },
  { as: "gateway", message: streams.HELD.message, subject: (id) => subjects.held(id) },
  { as: "gateway", message: ControlMessageSchema, subject: (id) => subjects.control(id) },
  { as: "gateway", message: streams.AUDIT.message, subject: () => subjects.audit("gateway", "request.released") },
  { as: "inference-worker", message: streams.WINDOWS.message, subject: (id) => subjects.window(id) },
  { as: "post-moderator", message: streams.VERDICTS.message, subject: (id) => subjects.verdict(GATEWAY_ID, id) },
  { as: "governance", message: streams.DECISIONS.message, subject: (id) => subjects.decision(id) },
];

interface Case {
  readonly way: Way;
  readonly id: string;
  readonly bytes: Uint8Array;
  readonly type: string | undefined;
}

function cases(known: readonly string[]): Arbitrary<Case> {
  const id = fc.constantFrom(...known, "x", "0190c0de-0000-7000-8000-00000000000a");
  const type = fc.constantFrom(undefined, undefined, undefined, "sallyport.bus.v1.Job", "");
  return fc.constantFrom(...ways).chain((way) =>
    id.chain((each) =>
      // The subject's own id in the message too: else little of it is looked at.
      fc.record({
        way: fc.constant(way),
        id: fc.constant(each),
        bytes: messageBytes(way.message, [each, each, GATEWAY_ID, model, ...known]),
        type,
      }),
    ),
  );
}

/** `known`: ids of requests that there are. Returns once every consumer is through with what it was sent. */
export async function fuzzBus({ platform }: TestPlatform, count: number, known: readonly string[]): Promise<void> {
  const { home, ports } = platform;
  const open = async (user: Parameters<typeof connectionOptions>[2]) =>
    connect({ ...connectionOptions(home, ports.nats, user), reconnect: false });
  const lines = new Map<ServiceName, NatsConnection>();
  for (const { as } of ways) if (!lines.has(as)) lines.set(as, await open(as));
  const provisioner = await open("provisioner");
  const sendable = cases(known).filter(({ bytes }) => bytes.length < maxBytes);
  await campaign("bus", sendable, { cases: count, atOnce: 16 }, async ({ way, id, bytes, type }) => {
    const nc = lines.get(way.as)!;
    const extra = type === undefined ? undefined : headers();
    extra?.set("ce-type", type!);
    const options = extra && { headers: extra };
    // CONTROL is no stream: nobody acknowledges it.
    if (way.message === ControlMessageSchema) nc.publish(way.subject(id), bytes, options);
    else await jetstream(nc).publish(way.subject(id), bytes, options);
    return way.message.name;
  });
  await settled(provisioner);
  for (const nc of [...lines.values(), provisioner]) await nc.close();
}

/** Nothing waits, and nothing is delivered again and again. */
async function settled(nc: NatsConnection): Promise<void> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const open = async () => {
    const left: string[] = [];
    for (const [stream, name] of consumers()) {
      const { num_pending, num_ack_pending } = await jsm.consumers.info(stream, name);
      if (num_pending + num_ack_pending > 0) left.push(`${stream}/${name}: ${num_pending} + ${num_ack_pending}`);
    }
    return left;
  };
  let left: string[] = [];
  const done = async () => {
    left = await open();
    return left.length === 0;
  };
  await waitFor("the bus to come to rest", done, { timeoutMs: 45_000, everyMs: 250 }).catch(() => {});
  expect(left).toEqual([]);
}

/** Stream and name of those that are provisioned, and of those that the services make. */
function consumers(): [string, string][] {
  const declared = Object.values(streams).flatMap((stream) =>
    stream.consumers.map(({ name }): [string, string] => [stream.name, name]),
  );
  return [...declared, ["JOBS", ownConsumers.job(model).name], ["VERDICTS", ownConsumers.verdict(GATEWAY_ID).name]];
}
