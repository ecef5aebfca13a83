/** The actions of `sallyport break-glass`; loaded only for it, as nothing else of the command needs the bus. */
import { createPrivateKey, randomUUID } from "node:crypto";
import { join } from "node:path";
import { AttestationError, createSigner, type Signer, type TrustBundle } from "@sallyport/attestation";
import { connectOperatorBus, type OperatorBus, type Switch } from "@sallyport/runtime/break-glass";
import { AppError } from "@sallyport/runtime/client";
import { type Context, readInput } from "../context.ts";
import { UsageError } from "../exit-codes.ts";
import { type TargetOptions, targetOf } from "../switch-target.ts";
import { type TrustOptions, trustOf } from "../trust.ts";
import { type BreakGlassValue, nextValue, readValue, toSigned } from "./value.ts";

const attempts = 5;
const maxWaitMs = 10_000;

export interface BusOptions extends Pick<TrustOptions, "trustBundle" | "trustRoot"> {
  key?: string;
  operatorDir?: string;
  bus?: string;
  ca?: string;
}

export async function pause(context: Context, options: TargetOptions & BusOptions): Promise<void> {
  const now = new Date();
  const until = options.for === undefined ? undefined : new Date(now.getTime() + options.for * 1_000);
  const added: Switch = { id: randomUUID(), kind: options.kind, target: targetOf(context, options), until };
  const trust = trustOf(context, options);
  const signer = signerOf(options.key ?? join(operatorDir(context, options), "break-glass.pem"));
  await using bus = await connect(context, options);
  const version = await add(context, bus, added, { signer, trust });
  context.print({ switch: toSigned(added), version }, () => [
    `switch ${added.id} is on the bus and holds within a second`,
    `version ${version}; once governance is up, two persons lift it: sallyport resume ${added.id}`,
  ]);
}

/** Read, add, put in the place of what was read; again when another operator was faster. */
async function add(
  context: Context,
  bus: OperatorBus,
  added: Switch,
  { signer, trust }: { signer: Signer; trust: TrustBundle },
): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const now = new Date();
    const stored = await bus.read();
    const next = nextValue(stored && believed(context, stored.value, trust, now), added, { signer, trust, now });
    try {
      await bus.put(next.bytes, stored);
      return next.version;
    } catch (error) {
      const overtaken = error instanceof AppError && error.code === "FAILED_PRECONDITION";
      if (!overtaken || attempt === attempts) throw error;
    }
  }
}

/** A value that readers refuse stops everything already; it gives way to one that they believe. */
function believed(context: Context, bytes: Uint8Array, trust: TrustBundle, now: Date): BreakGlassValue | undefined {
  try {
    return readValue(bytes, trust, now);
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    context.note(`what lay there no reader believes (${error.code}), and is replaced`);
    return undefined;
  }
}

export async function list(context: Context, options: BusOptions): Promise<void> {
  const trust = trustOf(context, options);
  await using bus = await connect(context, options);
  const stored = await bus.read();
  const { version, switches } = stored ? readValue(stored.value, trust, new Date()) : { version: 0, switches: [] };
  context.print({ version, switches: switches.map(toSigned) }, () =>
    switches.length === 0 ? "nothing was stopped this way" : switches.map((found) => JSON.stringify(toSigned(found))),
  );
}

async function connect(context: Context, options: BusOptions): Promise<OperatorBus> {
  const dir = operatorDir(context, options);
  const text = (file: string) => readInput(file).toString("utf8");
  const tls = {
    cert: text(join(dir, "operator.crt")),
    key: text(join(dir, "operator.key")),
    ca: text(options.ca ?? context.file(context.endpoints().ca)),
  };
  const nkeySeed = text(join(dir, "nats-operator.nk"));
  const url = options.bus ?? context.endpoints().nats;
  return await connectOperatorBus({ url, nkeySeed, tls, timeoutMs: context.waitMs(maxWaitMs) });
}

function operatorDir(context: Context, { operatorDir }: BusOptions): string {
  return operatorDir ?? join(context.home, "operator");
}

function signerOf(file: string): Signer {
  const pem = readInput(file);
  try {
    return createSigner(createPrivateKey(pem), "switch");
  } catch {
    throw new UsageError(`${file} is not an Ed25519 private key (PKCS#8 PEM)`);
  }
}
