import { type Rotation, rotationNames } from "@sallyport/infra/rotations";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { UsageError } from "../exit-codes.ts";
import type { Act } from "../program.ts";

export function addRotateCommand(program: Command, act: Act): void {
  const command = program
    .command("rotate")
    .argument("[what...]", `${rotationNames.join(", ")}; nothing: all of them but authority`)
    .description("replace keys and certificates of an installation made by npm start, while it works");
  act(command, rotateMaterial);
}

async function rotateMaterial(context: Context, what: readonly string[]): Promise<void> {
  const unknown = what.filter((name) => !(rotationNames as readonly string[]).includes(name));
  if (unknown.length > 0)
    throw new UsageError(`unknown: ${unknown.join(", ")}; choose among ${rotationNames.join(", ")}`);
  const names = what.length > 0 ? (what as readonly Rotation[]) : rotationNames.filter((name) => name !== "authority");
  // Loaded when it is needed: it knows the database's and the bus's installation.
  const { rotate } = await import("@sallyport/infra/rotate");
  await rotate(names, { home: context.home, report: (line) => context.note(line) });
  context.print({ rotated: names }, () => []);
}
