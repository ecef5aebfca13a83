import { type ChatWindow, type RequestView, SallyportError } from "@sallyport/client";
import { AppError } from "@sallyport/runtime/client";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { describeRequest, exitCodeOfState } from "../describe.ts";
import { UsageError } from "../exit-codes.ts";
import { type GatewayClient, gatewayClient } from "../gateway-client.ts";
import { plain } from "../io.ts";
import { integer } from "../parse.ts";
import type { Act } from "../program.ts";
import { type VerifyOptions, verifyBy, withVerify } from "../trust.ts";

const maxPromptBytes = 1024 * 1024;

interface ChatOptions extends VerifyOptions {
  model?: string;
  system?: string;
  maxTokens?: number;
}

export function addChatCommand(program: Command, act: Act): void {
  const command = program
    .command("chat <prompt>")
    .description("ask a model; released text goes to stdout as it comes, the outcome to stderr (prompt -: stdin)")
    .option("--model <name>", "which model (default: the approved one, where there is only one)")
    .option("--system <text>", "system message")
    .option("--max-tokens <n>", "longest answer", integer(1, 1_000_000));
  act(withVerify(command), chat);
}

async function chat(context: Context, prompt: string, options: ChatOptions): Promise<void> {
  const content = prompt === "-" ? await context.io.readIn(maxPromptBytes) : prompt;
  using gateway = gatewayClient(context, "user", verifyBy(context, options));
  const { client, call } = gateway;
  const model = options.model ?? onlyModel(await client.listModels(call));
  const system = options.system === undefined ? [] : [{ role: "system" as const, content: options.system }];
  const messages = [...system, { role: "user" as const, content }];
  const stream = client.stream({ model, messages, maxTokens: options.maxTokens }, call);
  let told = false;
  const tellAccepted = () => {
    const { requestId } = stream;
    if (told || requestId === undefined) return;
    told = true;
    if (context.json) context.print({ event: "accepted", requestId, model }, () => []);
    else context.note(`request ${requestId} (${model})`);
  };
  try {
    for await (const window of stream) {
      tellAccepted();
      show(context, window);
    }
    const { requestId, policyDigest, leafHash, proof } = await stream.result();
    tellOutcome(context, { requestId, state: "released", policyDigest, leafHash }, proof !== undefined);
  } catch (error) {
    tellAccepted();
    tellOutcome(context, await viewOf(gateway, error), options.verify);
  }
}

function show(context: Context, { index, text }: ChatWindow): void {
  if (context.json) context.print({ event: "window", index, text }, () => []);
  else context.io.out(plain(text));
}

function tellOutcome(
  context: Context,
  outcome: Pick<RequestView, "requestId" | "state"> & Partial<RequestView>,
  verified: boolean,
): void {
  context.exitCode = exitCodeOfState(outcome.state);
  const { text: _, ticket: __, ...rest } = outcome;
  if (context.json) context.print({ event: "outcome", ...rest, verified }, () => []);
  else context.note(`\n${describeRequest(outcome).join("\n")}${verified ? "" : "\n  not verified"}`);
}

/** How the request ended; throws `error` where it did not end, or nobody can tell. */
async function viewOf({ client, call }: GatewayClient, error: unknown): Promise<RequestView> {
  if (!(error instanceof SallyportError) || error.requestId === undefined || error.code === "UNVERIFIED") throw error;
  const ended = error.leafHash !== undefined || error.code === "HELD";
  const view = ended ? await client.getRequest(error.requestId, call).catch(() => undefined) : undefined;
  if (!view) throw error;
  return view;
}

function onlyModel(models: readonly { name: string }[]): string {
  const names = models.map(({ name }) => name);
  if (names.length === 1) return names[0]!;
  if (names.length === 0) throw new AppError("FAILED_PRECONDITION", "no model is approved", { reason: "NO_MODEL" });
  throw new UsageError(`choose one with --model: ${names.join(", ")}`);
}
