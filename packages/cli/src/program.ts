import { Command, Option } from "commander";
import { addAuditCommands } from "./commands/audit.ts";
import { addBreakGlassCommands } from "./commands/break-glass.ts";
import { addCertificateCommands } from "./commands/certificate.ts";
import { addChatCommand } from "./commands/chat.ts";
import { addDoctorCommand } from "./commands/doctor.ts";
import { addModelCommands } from "./commands/model.ts";
import { addRequestCommands } from "./commands/request.ts";
import { addReviewCommands } from "./commands/review.ts";
import { addRotateCommand } from "./commands/rotate.ts";
import { addStatusCommand } from "./commands/status.ts";
import { addSwitchCommands } from "./commands/switch.ts";
import { addTicketCommands } from "./commands/ticket.ts";
import { addTokenCommands } from "./commands/token.ts";
import { Context, type GlobalOptions } from "./context.ts";
import { type ExitCode, failureOf } from "./exit-codes.ts";
import { type Io, plain } from "./io.ts";
import { seconds } from "./parse.ts";

const exitCodeHelp = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 blocked, 4 held for review, 5 not authenticated or not allowed,
6 unavailable or too slow, 7 verification failed.`;

/** Gives a command its action: context, then arguments, then the command's own options. */
export type Act = <A extends readonly unknown[]>(
  command: Command,
  action: (context: Context, ...args: A) => Promise<void> | void,
) => void;

/** Runs one command line (without node and script). Resolves with the exit code; never throws. */
export async function run(args: readonly string[], io: Io): Promise<ExitCode> {
  let context: Context | undefined;
  const act: Act = (command, action) => {
    command.action(async (...given: unknown[]) => {
      context = new Context(io, command.optsWithGlobals<GlobalOptions>());
      // commander adds the command itself at the end.
      await (action as unknown as (context: Context, ...args: unknown[]) => unknown)(context, ...given.slice(0, -1));
    });
  };
  try {
    await createProgram(io, act).parseAsync([...args], { from: "user" });
    return context?.exitCode ?? 0;
  } catch (error) {
    const failure = failureOf(error);
    report(failure, context?.json ?? args.includes("--json"), io, error);
    return failure.exitCode;
  }
}

function createProgram(io: Io, act: Act): Command {
  const program = new Command("sallyport")
    .description("Private generative AI with two doors: ask, review, verify.")
    .addOption(new Option("--json", "print JSON, one value a line"))
    .addOption(new Option("--home <dir>", "the platform's home (default: $SALLYPORT_HOME, or .sallyport of the clone)"))
    .addOption(new Option("--as <name>", "whose credential: user, reviewer, operator, approver, auditor"))
    .addOption(new Option("--timeout <seconds>", "longest wait").argParser(seconds).default(120))
    .addHelpText("after", exitCodeHelp)
    .showHelpAfterError("(see --help)");
  addChatCommand(program, act);
  addRequestCommands(program, act);
  addModelCommands(program, act);
  addReviewCommands(program, act);
  addAuditCommands(program, act);
  addTicketCommands(program, act);
  addSwitchCommands(program, act);
  addBreakGlassCommands(program, act);
  addTokenCommands(program, act);
  addCertificateCommands(program, act);
  addRotateCommand(program, act);
  addStatusCommand(program, act);
  addDoctorCommand(program, act);
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) });
  }
  return program;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

function report(failure: ReturnType<typeof failureOf>, json: boolean, io: Io, error: unknown): void {
  if (failure.exitCode === 0) return;
  if (json) {
    io.err(`${JSON.stringify({ error: failure })}\n`);
    return;
  }
  // commander has written its own message.
  const told = (error as { code?: unknown })?.code;
  if (typeof told === "string" && told.startsWith("commander.")) return;
  io.err(`sallyport: ${plain(failure.message)} (${failure.reason})\n`);
}
