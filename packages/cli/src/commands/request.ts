import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { describeRequest, exitCodeOfState } from "../describe.ts";
import { gatewayClient } from "../gateway-client.ts";
import { identifier } from "../parse.ts";
import type { Act } from "../program.ts";
import { describeVerified, encodeReceipt, verifiedJson } from "../receipt-file.ts";
import { type TrustOptions, trustOf, type VerifyOptions, verifyBy, withTrust, withVerify } from "../trust.ts";

export function addRequestCommands(program: Command, act: Act): void {
  const group = program.command("request").description("requests of one's own");
  const get = group
    .command("get")
    .argument("<id>", "request id", identifier)
    .description("its state and, once released, its output")
    .option("--ticket <file>", "also write the release ticket, for `ticket verify` (holds the output in the clear)");
  act(withVerify(get), getRequest);
  const cancel = group.command("cancel").argument("<id>", "request id", identifier).description("stop it");
  act(cancel, cancelRequest);
  const receipt = withTrust(program.command("receipt").argument("<id>", "request id", identifier))
    .description("get the proof that a request's record is in the audit log, and verify it")
    .option("--out <file>", "keep it, for `audit verify`");
  act(receipt, getReceipt);
}

async function getRequest(
  context: Context,
  requestId: string,
  options: { ticket?: string } & VerifyOptions,
): Promise<void> {
  using gateway = gatewayClient(context, "user", verifyBy(context, options));
  const view = await gateway.client.getRequest(requestId, gateway.call);
  context.exitCode = exitCodeOfState(view.state);
  if (options.ticket !== undefined) writeTicket(context, options.ticket, view.ticket);
  const { ticket: _, ...shown } = view;
  if (context.json) return context.print({ ...shown, verified: options.verify }, () => []);
  const { model, createdAt, endedAt, holdExpiresAt, text = "" } = view;
  context.note(
    [
      ...describeRequest(view),
      `  model ${model}, created ${time(createdAt)}, ended ${time(endedAt)}`,
      ...(holdExpiresAt ? [`  held until ${time(holdExpiresAt)} at the latest`] : []),
      ...(view.text !== undefined && !options.verify ? ["  not verified"] : []),
    ].join("\n"),
  );
  context.print(text, () => text);
}

const time = (date: Date | undefined) => date?.toISOString() ?? "-";

function writeTicket(context: Context, file: string, ticket: string | undefined): void {
  if (ticket === undefined) {
    context.note("there is no ticket: nothing was released");
    return;
  }
  writeFileSync(file, ticket, { mode: 0o600 });
  context.note(`ticket written to ${file}`);
}

async function cancelRequest(context: Context, requestId: string): Promise<void> {
  // Nothing of its output is shown.
  using gateway = gatewayClient(context, "user", "off");
  const { text: _, ticket: __, ...view } = await gateway.client.cancel(requestId, gateway.call);
  context.print(view, () => describeRequest(view));
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
