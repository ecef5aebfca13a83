import { writeFileSync } from "node:fs";
import { toJson } from "@bufbuild/protobuf";
import {
  CancelRequestResponseSchema,
  GenerationService,
  GetRequestResponseSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { describeOutcome, exitCodeOfState, timeOf } from "../describe.ts";
import { gatewayClient } from "../gateway-client.ts";
import { identifier } from "../parse.ts";
import type { Act } from "../program.ts";
import { describeVerified, encodeReceipt, verifiedJson } from "../receipt-file.ts";
import { type TrustOptions, trustOf, withTrust } from "../trust.ts";

export function addRequestCommands(program: Command, act: Act): void {
  const group = program.command("request").description("requests of one's own");
  const get = group
    .command("get")
    .argument("<id>", "request id", identifier)
    .description("its state and, once released, its output")
    .option("--ticket <file>", "also write the release ticket, for `ticket verify` (holds the output in the clear)");
  act(get, getRequest);
  const cancel = group.command("cancel").argument("<id>", "request id", identifier).description("stop it");
  act(cancel, cancelRequest);
  const receipt = withTrust(program.command("receipt").argument("<id>", "request id", identifier))
    .description("get the proof that a request's record is in the audit log, and verify it")
    .option("--out <file>", "keep it, for `audit verify`");
  act(receipt, getReceipt);
}

async function getRequest(context: Context, requestId: string, options: { ticket?: string }): Promise<void> {
  const call = context.options("user");
  const response = await context.call("gateway", GenerationService, (client) => client.getRequest({ requestId }, call));
  const { outcome, model, createdAt, endedAt, holdExpiresAt, output, ticket } = response;
  if (outcome) context.exitCode = exitCodeOfState(outcome.state);
  if (options.ticket !== undefined) writeTicket(context, options.ticket, ticket);
  if (context.json) return context.print(toJson(GetRequestResponseSchema, response), () => []);
  context.note(
    [
      ...(outcome ? describeOutcome(outcome) : []),
      `  model ${model}, created ${timeOf(createdAt)}, ended ${timeOf(endedAt)}`,
      ...(holdExpiresAt ? [`  held until ${timeOf(holdExpiresAt)} at the latest`] : []),
    ].join("\n"),
  );
  const text = output.map((window) => window.text).join("");
  context.print(text, () => text);
}

function writeTicket(context: Context, file: string, ticket: Uint8Array): void {
  if (ticket.length === 0) {
    context.note("there is no ticket: nothing was released");
    return;
  }
  writeFileSync(file, ticket, { mode: 0o600 });
  context.note(`ticket written to ${file}`);
}

async function cancelRequest(context: Context, requestId: string): Promise<void> {
  const call = context.options("user");
  const response = await context.call("gateway", GenerationService, (client) =>
    client.cancelRequest({ requestId }, call),
  );
  context.print(toJson(CancelRequestResponseSchema, response), () =>
    response.outcome ? describeOutcome(response.outcome) : [],
  );
}

async function getReceipt(
  context: Context,
  requestId: string,
  options: { out?: string } & TrustOptions,
): Promise<void> {
  const trust = trustOf(context, options);
  using gateway = gatewayClient(context, "user", () => trust);
  const verified = await gateway.client.receipt(requestId, gateway.call);
  if (options.out !== undefined) writeFileSync(options.out, encodeReceipt(verified.receipt));
  context.print(verifiedJson(verified), () => [
    ...describeVerified(verified),
    ...(options.out === undefined ? [] : [`  kept in ${options.out}`]),
  ]);
}
