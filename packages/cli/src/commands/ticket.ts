import { fromJsonString, toBinary } from "@bufbuild/protobuf";
import { verifyReleaseTicket } from "@sallyport/attestation";
import { ChatContentSchema, ChatRequestSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import type { Command } from "commander";
import { type Context, readInput } from "../context.ts";
import { UsageError } from "../exit-codes.ts";
import type { Act } from "../program.ts";
import { type TrustOptions, trustOf, withTrust } from "../trust.ts";

export function addTicketCommands(program: Command, act: Act): void {
  const group = program.command("ticket").description("release tickets: the signed chain behind an output");
  const verify = withTrust(group.command("verify").argument("<file>", "from `request get --ticket`"))
    .description("verify a ticket without asking anyone: who signed what, in which order, over which bytes")
    .option("--request <file>", "the request as it was sent (ChatRequest as JSON, or ChatContent serialised)")
    .option("--partial", "accept the ticket of an attempt that broke off");
  act(verify, verifyTicket);
}

interface TicketOptions extends TrustOptions {
  request?: string;
  partial?: boolean;
}

function verifyTicket(context: Context, file: string, options: TicketOptions): void {
  const trust = trustOf(context, options);
  const report = verifyReleaseTicket(readInput(file).toString("utf8"), trust, {
    // A door's signature is good for a minute, a ticket is kept for years: without a time the chain is what is proved.
    at: options.at ?? "issue",
    sent: options.request === undefined ? undefined : sentBytes(options.request),
    partial: options.partial === true,
  });
  context.print({ verified: true, ...report }, () => [
    `verified: request ${report.requestId}, ${report.outcome}, ${report.windows} windows, ${report.bytes} bytes`,
    `  model ${report.modelDigest}`,
    ...(options.request === undefined ? [] : ["  it answers the request of --request"]),
    ...(report.requestSanitised ? ["  door 1 changed the request before it let it in"] : []),
  ]);
}

/** The bytes that door 1 was asked about: the gateway serialises a request just so. */
function sentBytes(file: string): Uint8Array {
  const bytes = readInput(file);
  // No serialised ChatContent begins with a brace.
  if (bytes[0] !== 0x7b) return bytes;
  try {
    const { content } = fromJsonString(ChatRequestSchema, bytes.toString("utf8"));
    if (content) return toBinary(ChatContentSchema, content);
  } catch {
    // Said below.
  }
  throw new UsageError(`${file} is not a request as GenerationService/Chat takes it`);
}
