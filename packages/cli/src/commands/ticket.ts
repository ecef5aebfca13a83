import { verifyReleaseTicket } from "@sallyport/attestation";
import type { Command } from "commander";
import { type Context, readInput } from "../context.ts";
import type { Act } from "../program.ts";
import { type TrustOptions, trustOf } from "../trust.ts";

export function addTicketCommands(program: Command, act: Act): void {
  const group = program.command("ticket").description("release tickets: the signed chain behind an output");
  const verify = group
    .command("verify")
    .argument("<file>", "from `request get --ticket`")
    .description("verify a ticket without asking anyone: who signed what, in which order, over which bytes")
    .option("--in-time", "also ask that every signature is still in time now")
    .option("--partial", "accept the ticket of an attempt that broke off")
    .option("--trust-bundle <file>", "instead of the home's")
    .option("--trust-root <file>", "the operator's public key, instead of the home's");
  act(verify, verifyTicket);
}

function verifyTicket(
  context: Context,
  file: string,
  options: TrustOptions & { inTime?: boolean; partial?: boolean },
): void {
  const trust = trustOf(context, options);
  const report = verifyReleaseTicket(readInput(file).toString("utf8"), trust, {
    // A door's signature is good for a minute, a ticket is kept for years: normally the chain is what is proved.
    ...(options.inTime ? {} : { at: "issue" as const }),
    partial: options.partial === true,
  });
  context.print({ verified: true, ...report }, () => [
    `verified: request ${report.requestId}, ${report.outcome}, ${report.windows} windows, ${report.bytes} bytes`,
    `  model ${report.modelDigest}`,
  ]);
}
