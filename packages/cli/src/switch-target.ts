/** What a switch is about, from the options that `pause` and `break-glass pause` share. */
import type { SwitchKind, SwitchTarget } from "@sallyport/runtime/break-glass";
import { type Command, Option } from "commander";
import type { Context } from "./context.ts";
import { UsageError } from "./exit-codes.ts";
import { duration, name, tenantName } from "./parse.ts";

export interface TargetOptions {
  everything?: boolean;
  model?: string;
  tenant?: string;
  identity?: string;
  issuer?: string;
  credential?: string;
  kind: SwitchKind;
  /** Seconds. */
  for?: number;
}

export function withTarget(command: Command): Command {
  return command
    .option("--everything", "the whole platform")
    .addOption(new Option("--model <name>", "a model").argParser(name))
    .addOption(new Option("--tenant <name>", "all of a tenant").argParser(tenantName))
    .addOption(new Option("--identity <tenant:subject>", "one identity, of --issuer").argParser(name))
    .addOption(new Option("--issuer <url>", "the identity's issuer (default: the home's dev issuer)").argParser(name))
    .addOption(
      new Option("--credential <id>", "a token's jti, an API token's id, a certificate's SHA-256").argParser(name),
    )
    .addOption(
      new Option("--kind <kind>", "ban: an identity; revocation: a credential, for good")
        .choices(["pause", "ban", "revocation"])
        .default("pause"),
    )
    .addOption(new Option("--for <duration>", "lifted by time, for instance 30m, 12h, 7d").argParser(duration));
}

/** Throws UsageError unless exactly one target is named, and the kind is one for it. */
export function targetOf(context: Context, options: TargetOptions): SwitchTarget {
  const { everything, model, tenant, identity, credential, kind } = options;
  const named = [everything || undefined, model, tenant, identity, credential].filter((value) => value !== undefined);
  if (named.length !== 1)
    throw new UsageError("name one target: --everything, --model, --tenant, --identity or --credential");
  if (kind === "ban" && identity === undefined) throw new UsageError("a ban is for an --identity");
  if (kind === "revocation" && credential === undefined) throw new UsageError("a revocation is for a --credential");
  if (model !== undefined) return { scope: "model", model };
  if (tenant !== undefined) return { scope: "tenant", tenant };
  if (credential !== undefined) return { scope: "credential", credential };
  if (identity === undefined) return { scope: "all" };
  const colon = identity.indexOf(":");
  if (colon < 1 || colon === identity.length - 1) throw new UsageError("--identity is TENANT:SUBJECT");
  const issuer = options.issuer ?? context.endpoints().issuer;
  return {
    scope: "identity",
    tenant: tenantName(identity.slice(0, colon)),
    issuer,
    subject: identity.slice(colon + 1),
  };
}
