/** What only a call tells: models, switches, the log's head. Each may fail by itself, and then says why. */
import { AuditService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import {
  SwitchKindSchema,
  SwitchService,
  SwitchStateSchema,
  type SwitchTarget,
} from "@sallyport/proto/sallyport/governance/v1/switches";
import { parseCheckpoint, parseNote } from "@sallyport/tlog";
import type { Context } from "../context.ts";
import { enumName, timeOf } from "../describe.ts";
import { failureOf } from "../exit-codes.ts";
import { trustOf } from "../trust.ts";

const askSeconds = 5;
/** As many newest records are looked at for the digest of the policy that decided last. */
const recentRecords = 32;

export interface Asked {
  models?: { name: string; version: string; digest: string; tier: string }[];
  switches?: { id: string; kind: string; target: string; state: string; until?: string }[];
  checkpoint?: { origin: string; size: number; newestRecord?: string; ageSeconds?: number };
  policyDigest?: string;
  trustBundle?: { version: number; ends: string };
  /** Part → why it is not known. */
  unknown: Record<string, string>;
}

export async function askAll(context: Context): Promise<Asked> {
  const asked: Asked = { unknown: {} };
  const ask = async (part: string, work: () => Promise<void> | void) => {
    try {
      await work();
    } catch (error) {
      const { reason, message } = failureOf(error);
      asked.unknown[part] = `${message} (${reason})`;
    }
  };
  await Promise.all([
    ask("models", () => askModels(context, asked)),
    ask("switches", () => askSwitches(context, asked)),
    ask("checkpoint", () => askLog(context, asked)),
    ask("trustBundle", () => {
      const { version, expiresAt } = trustOf(context, {});
      asked.trustBundle = { version, ends: expiresAt.toISOString() };
    }),
  ]);
  return asked;
}

async function askModels(context: Context, asked: Asked): Promise<void> {
  const call = context.options("user", askSeconds);
  const { models } = await context.call("gateway", GenerationService, (client) => client.listModels({}, call));
  asked.models = models.map(({ name, version, digest, tier }) => ({ name, version, digest, tier }));
}

async function askSwitches(context: Context, asked: Asked): Promise<void> {
  const call = context.options("operator", askSeconds);
  const { switches } = await context.call("governance", SwitchService, (client) => client.listSwitches({}, call));
  asked.switches = switches.map(({ id, kind, target, state, expiresAt }) => ({
    id,
    kind: enumName(SwitchKindSchema, kind),
    target: describeTarget(target),
    state: enumName(SwitchStateSchema, state),
    ...(expiresAt && { until: timeOf(expiresAt) }),
  }));
}

function describeTarget(
  { target }: SwitchTarget | { target: { case: undefined } } = { target: { case: undefined } },
): string {
  switch (target.case) {
    case "everything":
      return "everything";
    case "identity":
      return `identity ${target.value.tenant}/${target.value.subject}`;
    case undefined:
      return "?";
    default:
      return `${target.case} ${target.value}`;
  }
}

async function askLog(context: Context, asked: Asked): Promise<void> {
  const call = context.options("auditor", askSeconds);
  await context.call("audit", AuditService, async (client) => {
    const { checkpoint } = await client.getCheckpoint({}, call);
    const { origin, size } = parseCheckpoint(parseNote(checkpoint).text);
    const head: NonNullable<Asked["checkpoint"]> = { origin, size };
    for await (const { record } of client.tailRecords({ last: recentRecords }, call)) {
      const { time, decision } = JSON.parse(Buffer.from(record?.json ?? []).toString()) as {
        time?: string;
        decision?: { policyDigest?: string };
      };
      if (time) Object.assign(head, { newestRecord: time, ageSeconds: (Date.now() - Date.parse(time)) / 1_000 });
      if (decision?.policyDigest) asked.policyDigest = decision.policyDigest;
    }
    asked.checkpoint = head;
  });
}
