import { fromBinary, toJson } from "@bufbuild/protobuf";
import {
  ChatContentSchema,
  RoleSchema,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import {
  ClaimItemResponseSchema,
  DecideItemResponseSchema,
  type Item,
  ItemSchema,
  ItemStateSchema,
  ListItemsResponseSchema,
  ReviewDecision,
  ReviewDecisionSchema,
  ReviewService,
} from "@sallyport/proto/sallyport/governance/v1/review";
import { type Command, Option } from "commander";
import type { Context } from "../context.ts";
import { describeFindings, enumName, table, timeOf } from "../describe.ts";
import { identifier } from "../parse.ts";
import type { Act } from "../program.ts";

const caller = "reviewer";
type LeaseOption = { lease?: string };

export function addReviewCommands(program: Command, act: Act): void {
  const group = program.command("review").description("what waits for a person");
  const list = group.command("list").description("the queue").option("--all", "also what is decided or expired");
  act(list, listItems);
  const one = (name: string, description: string) =>
    group.command(name).argument("<id>", "request id", identifier).description(description);
  act(one("claim", "take an item for 10 minutes; prints the lease"), claimItem);
  const lease = ["--lease <id>", "from `review claim` (default: claim it first)"] as const;
  act(one("read", "the bodies; each reading is in the audit log").option(...lease), readItem);
  const decide = one("decide", "release or block it, for a reason")
    .addOption(new Option("--decision <decision>").choices(["allow", "deny"]).makeOptionMandatory())
    .requiredOption("--justification <text>", "10 to 2,000 characters")
    .option(...lease);
  act(decide, decideItem);
}

async function listItems(context: Context, { all = false }: { all?: boolean }): Promise<void> {
  const call = context.options(caller);
  const items = await context.call("governance", ReviewService, async (client) => {
    const found: Item[] = [];
    for (let pageToken = ""; ; ) {
      const page = await client.listItems({ includeClosed: all, pageSize: 200, pageToken }, call);
      found.push(...page.items);
      pageToken = page.nextPageToken;
      if (pageToken === "" || context.io.signal.aborted) return found;
    }
  });
  const response = { $typeName: ListItemsResponseSchema.typeName, items, nextPageToken: "" };
  context.print(toJson(ListItemsResponseSchema, response), () =>
    items.length === 0
      ? "nothing waits"
      : table([["REQUEST", "STAGE", "STATE", "CODES", "HELD AT", "EXPIRES AT", "CLAIMED BY"], ...items.map(rowOf)]),
  );
}

function rowOf(item: Item): string[] {
  const state = enumName(ItemStateSchema, item.state);
  const codes = item.findings.map(({ code }) => code).join(",") || "-";
  return [item.requestId, item.stage, state, codes, timeOf(item.heldAt), timeOf(item.expiresAt), item.claimedBy || "-"];
}

async function claimItem(context: Context, requestId: string): Promise<void> {
  const call = context.options(caller);
  const response = await context.call("governance", ReviewService, (client) => client.claimItem({ requestId }, call));
  context.print(toJson(ClaimItemResponseSchema, response), () => [
    `claimed until ${timeOf(response.item?.leaseExpiresAt)}`,
    `lease ${response.leaseId}`,
  ]);
}

async function readItem(context: Context, requestId: string, options: LeaseOption): Promise<void> {
  const call = context.options(caller);
  const { item, prompt, output } = await context.call("governance", ReviewService, async (client) => {
    const leaseId = options.lease ?? (await client.claimItem({ requestId }, call)).leaseId;
    return client.readItem({ requestId, leaseId }, call);
  });
  const content = fromBinary(ChatContentSchema, prompt);
  const window = output.length > 0 ? fromBinary(WindowContentSchema, output) : undefined;
  const json = {
    item: item && toJson(ItemSchema, item),
    prompt: toJson(ChatContentSchema, content),
    ...(window ? { output: toJson(WindowContentSchema, window) } : {}),
  };
  context.print(json, () => [
    `held at ${item?.stage}, model ${content.model}, because of:`,
    ...describeFindings(item?.findings ?? []),
    ...content.messages.map((message) => `--- ${enumName(RoleSchema, message.role)}\n${message.content}`),
    ...(window ? [`--- output\n${window.text}`] : []),
  ]);
}

async function decideItem(
  context: Context,
  requestId: string,
  options: LeaseOption & { decision: "allow" | "deny"; justification: string },
): Promise<void> {
  const call = context.options(caller);
  const decision = options.decision === "allow" ? ReviewDecision.ALLOW : ReviewDecision.DENY;
  const response = await context.call("governance", ReviewService, async (client) => {
    const leaseId = options.lease ?? (await client.claimItem({ requestId }, call)).leaseId;
    return client.decideItem({ requestId, leaseId, decision, justification: options.justification }, call);
  });
  const { item } = response;
  context.print(toJson(DecideItemResponseSchema, response), () => {
    const state = item ? enumName(ItemStateSchema, item.state) : "decided";
    return `request ${requestId}: ${state}, ${item ? enumName(ReviewDecisionSchema, item.decision) : options.decision}`;
  });
}
