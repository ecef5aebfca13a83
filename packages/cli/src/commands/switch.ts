/** The kill switch through governance. With governance down: break-glass.ts. */
import { toJson } from "@bufbuild/protobuf";
import {
  ListSwitchesResponseSchema,
  PauseResponseSchema,
  ResumeResponseSchema,
  type Switch,
  SwitchKind,
  SwitchKindSchema,
  SwitchService,
  SwitchState,
  SwitchStateSchema,
} from "@sallyport/proto/sallyport/governance/v1/switches";
import { switchTargetMessage } from "@sallyport/runtime/client";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { enumName, table, timeOf } from "../describe.ts";
import { identifier } from "../parse.ts";
import type { Act } from "../program.ts";
import { type TargetOptions, targetOf, withTarget } from "../switch-target.ts";

const caller = "operator";
const kinds = { pause: SwitchKind.PAUSE, ban: SwitchKind.BAN, revocation: SwitchKind.REVOCATION };
const justification = ["--justification <text>", "10 to 2,000 characters; kept, its digest is in the log"] as const;

export function addSwitchCommands(program: Command, act: Act): void {
  const stop = program.command("pause").description("stop something at once; one person is enough");
  act(withTarget(stop).requiredOption(...justification), pause);
  const lift = program
    .command("resume")
    .argument("<id>", "the switch's id", identifier)
    .description("lift a switch: the first person asks, a second one (--as) lifts")
    .requiredOption(...justification);
  act(lift, resume);
  const list = program.command("switches").description("what is switched off").option("--all", "also what has ended");
  act(list, listSwitches);
}

async function pause(context: Context, options: TargetOptions & { justification: string }): Promise<void> {
  const target = targetOf(context, options);
  const request = {
    target: { target: switchTargetMessage(target) },
    kind: kinds[options.kind],
    justification: options.justification,
    expiresInSeconds: BigInt(options.for ?? 0),
  };
  const call = context.options(caller);
  const response = await context.call("governance", SwitchService, (client) => client.pause(request, call));
  context.print(toJson(PauseResponseSchema, response), () => [
    `switch ${response.switch?.id}: ${describeSwitch(response.switch)}`,
    `version ${response.version}`,
  ]);
}

async function resume(context: Context, switchId: string, options: { justification: string }): Promise<void> {
  const call = context.options(caller);
  const request = { switchId, justification: options.justification };
  const response = await context.call("governance", SwitchService, (client) => client.resume(request, call));
  const lifted = response.switch?.state === SwitchState.LIFTED;
  context.print(toJson(ResumeResponseSchema, response), () =>
    lifted ? `switch ${switchId} is lifted` : `asked for; it holds until a second person lifts it (--as approver)`,
  );
}

async function listSwitches(context: Context, { all = false }: { all?: boolean }): Promise<void> {
  const call = context.options(caller);
  const request = { includeEnded: all };
  const response = await context.call("governance", SwitchService, (client) => client.listSwitches(request, call));
  const { switches } = response;
  context.print(toJson(ListSwitchesResponseSchema, response), () =>
    switches.length === 0
      ? "nothing is switched off"
      : table([["SWITCH", "WHAT", "STATE", "SET BY", "SET AT", "EXPIRES AT", "ENDED BY"], ...switches.map(rowOf)]),
  );
}

function rowOf(row: Switch): string[] {
  const state = enumName(SwitchStateSchema, row.state);
  const by = row.breakGlass ? "break-glass" : row.ofPlatform ? `${row.setBy} (staff)` : row.setBy;
  const endedBy = row.liftedBy || (row.state === SwitchState.EXPIRED ? "time" : row.resumeAskedBy && "asked");
  return [row.id, describeSwitch(row), state, by, timeOf(row.setAt), timeOf(row.expiresAt), endedBy || "-"];
}

function describeSwitch(row: Switch | undefined): string {
  const target = row?.target?.target;
  const kind = row ? enumName(SwitchKindSchema, row.kind) : "";
  if (target?.case === undefined) return kind;
  if (target.case === "everything") return `${kind} everything`;
  if (target.case !== "identity") return `${kind} ${target.case} ${target.value}`;
  const { tenant, issuer, subject } = target.value;
  return `${kind} identity ${tenant}:${subject} of ${issuer}`;
}
