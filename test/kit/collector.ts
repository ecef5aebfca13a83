/** An OpenTelemetry collector as small as can be: takes OTLP over HTTP and decodes the protobuf as it is on the wire. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { waitFor } from "@sallyport/runtime/testing";

export interface CollectedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  /** Nanoseconds. */
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
}

export interface Collector extends AsyncDisposable {
  /** What OTEL_EXPORTER_OTLP_ENDPOINT is set to. */
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Everything that was sent, byte for byte, unzipped. */
  readonly raw: () => Buffer;
  /** Paths that were asked for besides /v1/traces. */
  readonly others: readonly string[];
}

export async function startCollector(): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  const bodies: Buffer[] = [];
  const others: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const sent = Buffer.concat(chunks);
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent;
      if (request.url === "/v1/traces" && request.headers["content-type"] === "application/x-protobuf") {
        bodies.push(body);
        spans.push(...readRequest(body));
      } else others.push(request.url ?? "");
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    raw: () => Buffer.concat(bodies),
    others,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The spans of a trace, once nothing has been added to them for a while and `enough` holds. */
export async function settledTrace(
  { spans }: Pick<Collector, "spans">,
  traceId: string,
  enough: (spans: CollectedSpan[]) => boolean,
): Promise<CollectedSpan[]> {
  const mine = () => spans.filter((span) => span.traceId === traceId);
  await waitFor(`the whole trace ${traceId}`, () => enough(mine()), { timeoutMs: 20_000 });
  let before = -1;
  await waitFor(
    "no more spans",
    () => {
      const settled = before === mine().length;
      before = mine().length;
      return settled;
    },
    { timeoutMs: 30_000, everyMs: 2_500 },
  );
  return mine();
}

/** opentelemetry/proto/collector/trace/v1: request → resource spans → scope spans → spans. */
function readRequest(bytes: Uint8Array): CollectedSpan[] {
  return all(bytes, 1).flatMap((resourceSpans) => {
    const [resource] = all(resourceSpans, 1);
    const service = String(readAttributes(resource ?? new Uint8Array(), 1)["service.name"]);
    return all(resourceSpans, 2).flatMap((scopeSpans) => all(scopeSpans, 2).map((span) => readSpan(span, service)));
  });
}

function readSpan(bytes: Uint8Array, service: string): CollectedSpan {
  const fields = new Map(fieldsOf(bytes));
  const hex = (field: number) => Buffer.from((fields.get(field) as Uint8Array | undefined) ?? []).toString("hex");
  const [status] = all(bytes, 15);
  return {
    service,
    traceId: hex(1),
    spanId: hex(2),
    parentSpanId: hex(4),
    name: Buffer.from(fields.get(5) as Uint8Array).toString(),
    kind: Number(fields.get(6)),
    start: fields.get(7) as bigint,
    end: fields.get(8) as bigint,
    attributes: readAttributes(bytes, 9),
    failed: status !== undefined && new Map(fieldsOf(status)).get(3) === 2n,
  };
}

function readAttributes(bytes: Uint8Array, field: number): Record<string, unknown> {
  return Object.fromEntries(
    all(bytes, field).map((pair) => {
      const [key] = all(pair, 1);
      const [value] = all(pair, 2);
      return [Buffer.from(key!).toString(), readValue(value!)];
    }),
  );
}

/** AnyValue: string 1, bool 2, int 3, double 4, array 5. */
function readValue(bytes: Uint8Array): unknown {
  const [[field, value] = [0, undefined]] = [...fieldsOf(bytes)];
  if (field === 1) return Buffer.from(value as Uint8Array).toString();
  if (field === 3) return Number(value);
  if (field === 4) return new DataView(new BigUint64Array([value as bigint]).buffer).getFloat64(0, true);
  if (field === 5) return all(value as Uint8Array, 1).map(readValue);
  return value;
}

function all(bytes: Uint8Array, wanted: number): Uint8Array[] {
  return [...fieldsOf(bytes)].flatMap(([field, value]) => (field === wanted ? [value as Uint8Array] : []));
}

function* fieldsOf(bytes: Uint8Array): Generator<[number, Uint8Array | bigint]> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited) yield [field, reader.bytes()];
    else if (type === WireType.Varint) yield [field, BigInt(reader.uint64())];
    else if (type === WireType.Bit64) yield [field, BigInt(reader.fixed64())];
    else if (type === WireType.Bit32) yield [field, BigInt(reader.fixed32())];
    else throw new Error(`wire type ${type} is not used by OTLP`);
  }
}
