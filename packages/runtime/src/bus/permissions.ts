/**
 * The subjects behind each operation of this package: what a NATS user needs, and nothing more. Names of streams,
 * consumers and buckets are literal, so that a permission covers one of them.
 */
import { inboxPrefix } from "./connection.ts";
import { bucketStream, bucketSubject } from "./specs.ts";

export interface SubjectPermissions {
  publish: string[];
  subscribe: string[];
}

export const jsApiPermissions = {
  /** Everybody who asks anything: replies, acknowledgements of publishes, pulled messages. */
  inbox: (service: string): SubjectPermissions => ({ publish: [], subscribe: [`${inboxPrefix(service)}.>`] }),
  /** bus.publish; `subjects` as in the stream's declaration, or narrower. */
  publish: (subjects: readonly string[]): SubjectPermissions => ({ publish: [...subjects], subscribe: [] }),
  /** bus.consume of a provisioned consumer. */
  bindConsumer: (stream: string, consumer: string): SubjectPermissions => ({
    publish: [`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, `$JS.ACK.${stream}.${consumer}.>`],
    subscribe: [],
  }),
  /** bus.consume with `create`: on top of bindConsumer. The filter is part of the subject, so another one is refused. */
  createConsumer: (stream: string, consumer: string, filter: string): SubjectPermissions => ({
    publish: [`$JS.API.CONSUMER.CREATE.${stream}.${consumer}.${filter}`],
    subscribe: [],
  }),
  /** bus.replay: batched direct get. It can read the whole stream, so only its readers have it. */
  replay: (stream: string): SubjectPermissions => ({ publish: [`$JS.API.DIRECT.GET.${stream}`], subscribe: [] }),
  /** watchState: a direct get of each key, and the puts themselves as they pass. */
  watchKv: (bucket: string): SubjectPermissions => ({
    publish: [`$JS.API.DIRECT.GET.${bucketStream(bucket)}.${bucketSubject(bucket, ">")}`],
    subscribe: [bucketSubject(bucket, ">")],
  }),
  /** putState. */
  putKv: (bucket: string): SubjectPermissions => ({ publish: [bucketSubject(bucket, ">")], subscribe: [] }),
  /** The break-glass way: one key, put and read by a direct get, and nothing heard of it. */
  oneKey: (bucket: string, key: string): SubjectPermissions => {
    const subject = bucketSubject(bucket, key);
    return { publish: [subject, `$JS.API.DIRECT.GET.${bucketStream(bucket)}.${subject}`], subscribe: [] };
  },
  /** bus.signal and bus.onSignal (core NATS). */
  signal: (subject: string): SubjectPermissions => ({ publish: [subject], subscribe: [] }),
  onSignal: (pattern: string): SubjectPermissions => ({ publish: [], subscribe: [pattern] }),
} as const;
