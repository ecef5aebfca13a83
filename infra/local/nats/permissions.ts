import { BREAK_GLASS } from "@sallyport/attestation";
import {
  auditSubjectsOf,
  type BucketName,
  buckets,
  coreSubjects,
  ownConsumers,
  type ServiceName,
  type StreamSpec,
  services,
  streams,
} from "@sallyport/proto/subjects";
import { jsApiPermissions, type SubjectPermissions } from "@sallyport/runtime/provisioning";

/** Name of the user that makes streams, consumers and buckets; it reads and writes no messages. */
export const PROVISIONER = "provisioner";

/** Name of the operator's own user: it can set a switch when governance is down. */
export const OPERATOR = "operator";

/** Subjects that a service's NATS user may use: what proto/subjects.ts and infra/flows.ts say, nothing more. */
export function servicePermissions(service: ServiceName, gatewayId: string): SubjectPermissions {
  const parts = [
    jsApiPermissions.inbox(service),
    ...Object.values<StreamSpec>(streams).flatMap((stream) => streamPermissions(service, stream)),
    ...ownConsumerPermissions(service, gatewayId),
    ...corePermissions(service),
    ...Object.keys(buckets).flatMap((bucket) => bucketPermissions(service, bucket as BucketName)),
  ];
  return {
    publish: [...new Set(parts.flatMap(({ publish }) => publish))].sort(),
    subscribe: [...new Set(parts.flatMap(({ subscribe }) => subscribe))].sort(),
  };
}

function streamPermissions(service: ServiceName, stream: StreamSpec): SubjectPermissions[] {
  const parts: SubjectPermissions[] = [];
  if (stream.writers.includes(service)) {
    const subjects = stream.name === "AUDIT" ? [auditSubjectsOf(service)] : stream.subjects;
    parts.push(jsApiPermissions.publish(subjects));
  }
  const own = stream.consumers.filter((consumer) => consumer.service === service);
  for (const consumer of own) parts.push(jsApiPermissions.bindConsumer(stream.name, consumer.name));
  // Door 2 takes up a request that another replica began: from its first window.
  if (own.length > 0 && stream.name === "WINDOWS") parts.push(jsApiPermissions.replay(stream.name));
  return parts;
}

/** Consumers that only their service knows by name: the worker's, one a model, and the gateway's own. */
function ownConsumerPermissions(service: ServiceName, gatewayId: string): SubjectPermissions[] {
  if (service === "inference-worker") {
    const jobs = streams.JOBS;
    return [
      jsApiPermissions.bindConsumer(jobs.name, "*"),
      ...jobs.subjects.map((subject) => jsApiPermissions.createConsumer(jobs.name, "*", subject)),
    ];
  }
  if (service !== "gateway") return [];
  const { name, filter } = ownConsumers.verdict(gatewayId);
  const { VERDICTS } = streams;
  return [
    jsApiPermissions.bindConsumer(VERDICTS.name, name),
    jsApiPermissions.createConsumer(VERDICTS.name, name, filter),
  ];
}

function corePermissions(service: ServiceName): SubjectPermissions[] {
  return Object.values(coreSubjects).flatMap(({ pattern, writers, readers }) => [
    ...((writers as readonly ServiceName[]).includes(service)
      ? [jsApiPermissions.signal(ownVoice(pattern, service))]
      : []),
    ...((readers as readonly ServiceName[]).includes(service)
      ? [jsApiPermissions.onSignal(ownPart(pattern, service))]
      : []),
  ]);
}

/** Telemetry is about the service that sends it: none speaks in another's name. */
function ownVoice(pattern: string, service: ServiceName): string {
  return pattern === coreSubjects.telemetry.pattern ? pattern.replace("*", service) : pattern;
}

/** A confirmation is for the producer that it names. */
function ownPart(pattern: string, service: ServiceName): string {
  return pattern === coreSubjects.confirm.pattern ? pattern.replace("*", service) : pattern;
}

function bucketPermissions(service: ServiceName, name: BucketName): SubjectPermissions[] {
  const { writer, readers } = buckets[name];
  const reads = writer === service || (readers as readonly ServiceName[]).includes(service);
  return [
    ...(reads ? [jsApiPermissions.watchKv(name)] : []),
    ...(writer === service ? [jsApiPermissions.putKv(name)] : []),
  ];
}

/** The provisioner describes streams and consumers, and may begin a consumer anew; no message subject, no message get, no purge. */
function provisionerPermissions(): SubjectPermissions {
  const stream = ["CREATE", "UPDATE", "INFO"].map((verb) => `$JS.API.STREAM.${verb}.*`);
  const consumer = ["CREATE.*.>", "INFO.*.*", "LIST.*", "DELETE.*.*"].map((verb) => `$JS.API.CONSUMER.${verb}`);
  return {
    publish: ["$JS.API.INFO", "$JS.API.STREAM.NAMES", ...stream, ...consumer],
    subscribe: [`_INBOX_${PROVISIONER}.>`],
  };
}

/** The operator puts and reads the break-glass key, and nothing else on the bus. */
export function operatorPermissions(): SubjectPermissions {
  const [inbox, key] = [jsApiPermissions.inbox(OPERATOR), jsApiPermissions.oneKey(BREAK_GLASS.bucket, BREAK_GLASS.key)];
  return { publish: [...inbox.publish, ...key.publish], subscribe: [...inbox.subscribe, ...key.subscribe] };
}

export const busUsers = [...services, PROVISIONER, OPERATOR] as const;
export type BusUser = (typeof busUsers)[number];

/** What the server lets a user do. */
export function permissionsOf(user: BusUser, gatewayId: string): SubjectPermissions {
  if (user === PROVISIONER) return provisionerPermissions();
  return user === OPERATOR ? operatorPermissions() : servicePermissions(user, gatewayId);
}
