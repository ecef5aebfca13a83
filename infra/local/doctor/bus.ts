/** NATS: reachable over TLS as its own users, new enough, and every stream, consumer and bucket as proto/subjects.ts says. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { buckets, type StreamSpec, streams } from "@sallyport/proto/subjects";
import { bucketConfig, consumerConfig, streamConfig } from "@sallyport/runtime/provisioning";
import { PROVISIONER } from "../nats/permissions.ts";
import { connectionOptions } from "../nats/provisioner.ts";
import { NATS_MIN_VERSION, newerOrEqual } from "../nats-server/version.ts";
import { away, type Finding, fail, type Subject, said, summed } from "./finding.ts";

const apiTimeoutMs = 5_000;
const restart = "The platform makes it again while it runs; if it does not, look at logs/nats.jsonl and start again.";

export async function examineBus(subject: Subject): Promise<Finding[]> {
  const { home, ports } = subject;
  const seed = join(home.secretsDir, `nats-${PROVISIONER}.nk`);
  if (!existsSync(seed))
    return [fail("bus", `${seed} is not there`, "Start the platform: it makes the users of the bus.")];
  let nc: NatsConnection;
  try {
    nc = await connect({ ...connectionOptions(home, ports.nats, PROVISIONER), reconnect: false });
  } catch (error) {
    return [away(subject, "bus", `it does not answer on port ${ports.nats}: ${said(error)}`)];
  }
  try {
    return [...examineServer(nc), ...(await examineStreams(nc))];
  } finally {
    await nc.close();
  }
}

function examineServer({ info }: NatsConnection): Finding[] {
  const { version = "?", tls_required: tls, jetstream } = info ?? {};
  const faults: Finding[] = [];
  if (!newerOrEqual(version, NATS_MIN_VERSION))
    faults.push(fail("bus", `nats-server ${version} is too old`, `Use ${NATS_MIN_VERSION} or newer.`));
  if (!tls)
    faults.push(fail("bus", "it does not ask for TLS", "Start it with the configuration that the platform writes."));
  if (!jetstream)
    faults.push(fail("bus", "JetStream is off", "Start it with the configuration that the platform writes."));
  return summed("bus", faults, `nats-server ${version} with TLS and JetStream`);
}

async function examineStreams(nc: NatsConnection): Promise<Finding[]> {
  const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: apiTimeoutMs });
  const specs = Object.values<StreamSpec>(streams);
  const wanted = [
    ...specs.map((spec) => streamConfig(spec)),
    ...Object.values(buckets).map((bucket) => bucketConfig(bucket)),
  ];
  const consumers = specs.flatMap((spec) =>
    spec.consumers.map((consumer) => ({ stream: spec.name, config: consumerConfig(consumer) })),
  );
  const ofStreams = await Promise.all(
    wanted.map((config) => compare(`stream ${config.name}`, config, () => streamOf(jsm, config.name))),
  );
  const ofConsumers = await Promise.all(
    consumers.map(({ stream, config }) =>
      compare(`consumer ${stream}/${config.name}`, config, () => consumerOf(jsm, stream, config.name!)),
    ),
  );
  const well = `${wanted.length} streams and buckets and ${consumers.length} consumers are as declared`;
  return summed("streams", [...ofStreams, ...ofConsumers].flat(), well);
}

const streamOf = async (jsm: JetStreamManager, name: string) => (await jsm.streams.info(name)).config as object;
const consumerOf = async (jsm: JetStreamManager, stream: string, name: string) =>
  (await jsm.consumers.info(stream, name)).config as object;

async function compare(name: string, wanted: object, find: () => Promise<object>): Promise<Finding[]> {
  let found: Record<string, unknown>;
  try {
    found = (await find()) as Record<string, unknown>;
  } catch (error) {
    return [fail("streams", `${name} is missing (${said(error)})`, restart)];
  }
  const other = Object.entries(wanted).filter(
    ([key, value]) => JSON.stringify(found[key] ?? false) !== JSON.stringify(value ?? false),
  );
  return other.map(([key, value]) =>
    fail("streams", `${name}: ${key} is ${JSON.stringify(found[key])}, not ${JSON.stringify(value)}`, restart),
  );
}
