import { verifyReleaseTicket } from "@sallyport/attestation";
import type { Command } from "commander";
import { type Context, readInput } from "../context.ts";
import type { Act } from "../program.ts";
import { type TrustOptions, trustOf, withTrust } from "../trust.ts";

export function addTicketCommands(program: Command, act: Act): void {
  const group = program.command("ticket").description("release tickets: the signed chain behind an output");
  const verify = withTrust(group.command("verify").argument("<file>", "from `request get --ticket`"))
    .description("verify a ticket without asking anyone: who signed what, in which order, over which bytes")
    .option("--partial", "accept the ticket of an attempt that broke off");
  act(verify, verifyTicket);
}

function verifyTicket(context: Context, file: string, options: TrustOptions & { partial?: boolean }): void {
  const trust = trustOf(context, options);
  const report = verifyReleaseTicket(readInput(file).toString("utf8"), trust, {
    // A door's signature is good for a minute, a ticket is kept for years: without a time the chain is what is proved.
    at: options.at ?? "issue",
    partial: options.partial === true,
  });
  context.print({ verified: true, ...report }, () => [
    `verified: request ${report.requestId}, ${report.outcome}, ${report.windows} windows, ${report.bytes} bytes`,
    `  model ${report.modelDigest}`,
  ]);
}
