import { create, fromBinary, toJson } from "@bufbuild/protobuf";
import {
  ChatContentSchema,
  type ChatResponse,
  GenerationService,
  OutcomeSchema,
  Role,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime/client";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { describeOutcome, exitCodeOfState } from "../describe.ts";
import { UsageError } from "../exit-codes.ts";
import { plain } from "../io.ts";
import { integer } from "../parse.ts";
import type { Act } from "../program.ts";

const maxPromptBytes = 1024 * 1024;

interface ChatOptions {
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
  act(command, chat);
}

async function chat(context: Context, prompt: string, options: ChatOptions): Promise<void> {
  const text = prompt === "-" ? await context.io.readIn(maxPromptBytes) : prompt;
  const call = context.options("user");
  await context.call("gateway", GenerationService, async (client) => {
    const model = options.model ?? onlyModel(await client.listModels({}, call));
    const system = options.system === undefined ? [] : [{ role: Role.SYSTEM, content: options.system }];
    const content = create(ChatContentSchema, {
      model,
      messages: [...system, { role: Role.USER, content: text }],
      parameters: { maxTokens: options.maxTokens ?? 0 },
    });
    let ended = false;
    for await (const { event } of client.chat({ content }, call)) ended = show(context, event) || ended;
    if (!ended) throw new AppError("UNAVAILABLE", "the stream ended without an outcome", { reason: "STREAM_ENDED" });
  });
}

/** Returns whether it was the outcome. */
function show(context: Context, event: ChatResponse["event"]): boolean {
  if (event.case === "accepted") {
    const { requestId, model } = event.value;
    if (context.json) context.print({ event: "accepted", requestId, model }, () => []);
    else context.note(`request ${requestId} (${model})`);
  }
  if (event.case === "window") {
    const { text } = fromBinary(WindowContentSchema, event.value.content);
    if (context.json) context.print({ event: "window", index: event.value.index, text }, () => []);
    else context.io.out(plain(text));
  }
  if (event.case !== "outcome") return false;
  context.exitCode = exitCodeOfState(event.value.state);
  if (context.json) context.print({ event: "outcome", ...(toJson(OutcomeSchema, event.value) as object) }, () => []);
  else context.note(`\n${describeOutcome(event.value).join("\n")}`);
  return true;
}

function onlyModel({ models }: { models: { name: string }[] }): string {
  const names = models.map(({ name }) => name);
  if (names.length === 1) return names[0]!;
  if (names.length === 0) throw new AppError("FAILED_PRECONDITION", "no model is approved", { reason: "NO_MODEL" });
  throw new UsageError(`choose one with --model: ${names.join(", ")}`);
}
