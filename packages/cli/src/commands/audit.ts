import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseRecord, type Receipt, verifyReceipt } from "@sallyport/client";
import { type Record as AuditRecord, AuditService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { AppError, asAppError, type CallOptions, type Client } from "@sallyport/runtime/client";
import type { Command } from "commander";
import { type Context, readInput } from "../context.ts";
import { integer } from "../parse.ts";
import type { Act } from "../program.ts";
import { describeRecord, describeVerified, encodeReceipt, parseReceipt, verifiedJson } from "../receipt-file.ts";
import { type TrustOptions, trustOf, withTrust } from "../trust.ts";

const caller = "auditor";
const followSeconds = 3_000;
const reconnectMs = 500;

interface TailOptions {
  follow?: boolean;
  last: number;
  type?: string[];
}

export function addAuditCommands(program: Command, act: Act): void {
  const group = program.command("audit").description("the log: read, prove, verify");
  const tail = group
    .command("tail")
    .description("the newest records, oldest first")
    .option("-f, --follow", "stay, and print new records as they are logged")
    .option("--last <n>", "how many", integer(1, 100_000), 20)
    .option("--type <event...>", "only these events, for instance request.blocked");
  act(tail, tailRecords);
  const key = ["<key>", "index, leaf hash (hex) or request id"] as const;
  act(
    group
      .command("get")
      .argument(...key)
      .description("one record"),
    getRecord,
  );
  const prove = withTrust(group.command("prove").argument(...key))
    .description("one record with its proof, verified here")
    .option("--out <file>", "keep it as a receipt, for `audit verify`");
  act(prove, proveRecord);
  const verify = withTrust(group.command("verify").argument("<file>", "a receipt, or a .tlog-proof with --record"))
    .description("verify a receipt without asking anyone")
    .option("--record <file>", "the record's bytes, for a bare proof");
  act(verify, verifyFile);
}

async function tailRecords(context: Context, options: TailOptions): Promise<void> {
  const call = options.follow ? context.options(caller, followSeconds) : context.options(caller);
  await context.call("audit", AuditService, async (client) => {
    let next: bigint | undefined;
    for (;;) {
      try {
        for await (const record of tailOnce(client, options, next, call)) {
          printRecord(context, record);
          next = record.index + 1n;
        }
        if (!options.follow) return;
      } catch (error) {
        const { code } = asAppError(error);
        if (context.io.signal.aborted) return;
        // A service that restarts, or our own long deadline: go on behind the last record seen.
        if (!options.follow || next === undefined || !["UNAVAILABLE", "DEADLINE_EXCEEDED"].includes(code)) throw error;
        context.note("connection lost; trying again");
      }
      await sleep(reconnectMs, undefined, { signal: context.io.signal }).catch(() => {});
      if (context.io.signal.aborted) return;
    }
  });
}

async function* tailOnce(
  client: Client<typeof AuditService>,
  { follow = false, last, type = [] }: TailOptions,
  next: bigint | undefined,
  call: CallOptions,
): AsyncGenerator<AuditRecord> {
  const from = next === undefined ? { last } : { fromIndex: next };
  for await (const { record } of client.tailRecords({ ...from, follow, eventTypes: type }, call)) {
    if (record) yield record;
  }
}

function printRecord(context: Context, { index, leafHash, json }: AuditRecord): void {
  const record = parseRecord(json);
  context.print({ index: Number(index), leafHash, record }, () => `${index} ${describeRecord(record)}`);
}

async function getRecord(context: Context, key: string): Promise<void> {
  const { record } = await fetchRecord(context, key);
  const value = parseRecord(record.json);
  context.print({ index: Number(record.index), leafHash: record.leafHash, record: value }, () => [
    `record ${record.index}, leaf ${record.leafHash}`,
    JSON.stringify(value, undefined, 2),
  ]);
}

async function proveRecord(context: Context, key: string, options: { out?: string } & TrustOptions): Promise<void> {
  const trust = trustOf(context, options);
  const { record, proof } = await fetchRecord(context, key);
  const receipt: Receipt = { record: record.json, proof };
  const verified = verifyReceipt(receipt, trust);
  if (options.out !== undefined) writeFileSync(options.out, encodeReceipt(receipt));
  context.print(verifiedJson(verified), () => [
    ...describeVerified(verified),
    ...(options.out === undefined ? [] : [`  kept in ${options.out}`]),
  ]);
}

async function fetchRecord(context: Context, key: string): Promise<{ record: AuditRecord; proof: string }> {
  const call = context.options(caller);
  const { record, proof } = await context.call("audit", AuditService, (client) =>
    client.getRecord({ key: keyOf(key) }, call),
  );
  if (!record) throw new AppError("NOT_FOUND", "the log has no such record", { reason: "RECORD_NOT_FOUND" });
  return { record, proof };
}

function keyOf(key: string) {
  if (/^\d{1,15}$/.test(key)) return { case: "index" as const, value: BigInt(key) };
  if (/^[0-9a-f]{64}$/.test(key)) return { case: "leafHash" as const, value: key };
  return { case: "requestId" as const, value: key };
}

function verifyFile(context: Context, file: string, options: { record?: string } & TrustOptions): void {
  const trust = trustOf(context, options);
  const bytes = readInput(file);
  const text = bytes.toString("utf8");
  const receipt =
    options.record === undefined ? parseReceipt(text) : { record: readInput(options.record), proof: text };
  const verified = verifyReceipt(receipt, trust);
  context.print(verifiedJson(verified), () => describeVerified(verified));
}
