import type { Finding } from "@sallyport/infra/doctor";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { table } from "../describe.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Act } from "../program.ts";

export function addDoctorCommand(program: Command, act: Act): void {
  const command = program
    .command("doctor")
    .description(
      "examine an installation made by npm start, running or not, and say what to mend (exit code 1 if anything)",
    );
  act(command, examineInstallation);
}

async function examineInstallation(context: Context): Promise<void> {
  // Loaded when it is needed: it knows the database's and the bus's installation.
  const { examine } = await import("@sallyport/infra/doctor");
  const findings = await examine(context.home);
  const failed = findings.filter(({ level }) => level === "fail").length;
  if (failed > 0) context.exitCode = exitCodes.failed;
  context.print({ sound: failed === 0, findings }, () => [
    ...table([["", "CHECK", "FINDING"], ...findings.map(rowOf)]),
    ...mends(findings),
  ]);
}

function rowOf({ level, check, what }: Finding): string[] {
  return [level === "unknown" ? "?" : level, check, what];
}

function mends(findings: readonly Finding[]): string[] {
  const bad = findings.filter(({ level, mend }) => mend && (level === "fail" || level === "warn"));
  if (bad.length === 0) return [];
  return ["", "What to do:", ...bad.map(({ check, what, mend }) => `  ${check}: ${what}\n    ${mend}`)];
}
