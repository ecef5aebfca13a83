/**
 * When governance is down: a switch signed with the operator's own key, put on the bus with the operator's own user.
 * Only adds; governance lifts it, when it is back, by two persons.
 */
import type { Command } from "commander";
import type { BusOptions } from "../break-glass/actions.ts";
import type { Act } from "../program.ts";
import { type TargetOptions, withTarget } from "../switch-target.ts";

const actions = () => import("../break-glass/actions.ts");

export function addBreakGlassCommands(program: Command, act: Act): void {
  const group = program.command("break-glass").description("the kill switch while governance is down");
  const stop = group
    .command("pause")
    .description("stop something at once, past governance; it can only stop, not lift")
    .option("--key <file>", "the break-glass key (default: break-glass.pem of --operator-dir)");
  act(withBus(withTarget(stop)), async (context, options: TargetOptions & BusOptions) => {
    await (await actions()).pause(context, options);
  });
  const list = group.command("list").description("what was stopped this way, lifted or not");
  act(withBus(list), async (context, options: BusOptions) => {
    await (await actions()).list(context, options);
  });
}

function withBus(command: Command): Command {
  return command
    .option("--operator-dir <dir>", "operator.crt, operator.key, nats-operator.nk (default: operator/ of the home)")
    .option("--bus <url>", "tls://host:port (default: the home's)")
    .option("--ca <file>", "the bus's CA (default: the home's)")
    .option("--trust-bundle <file>", "instead of the home's")
    .option("--trust-root <file>", "instead of the home's");
}
