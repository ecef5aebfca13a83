import { loadTrustBundle, readRootKey, type TrustBundle } from "@sallyport/attestation";
import type { TrustSource } from "@sallyport/client";
import { type Command, Option } from "commander";
import { type Context, readInput } from "./context.ts";
import { UsageError } from "./exit-codes.ts";
import { instant } from "./parse.ts";

export interface TrustOptions {
  trustBundle?: string;
  trustRoot?: string;
  at?: Date;
}

/** The options of every command that verifies. */
export function withTrust(command: Command): Command {
  return command
    .option("--trust-bundle <file>", "instead of the home's")
    .option("--trust-root <file>", "the operator's public key, instead of the home's")
    .addOption(new Option("--at <time>", "judge by this time (RFC 3339), for an old bundle").argParser(instant));
}

export interface VerifyOptions {
  /** False with --no-verify. */
  verify: boolean;
}

/** The option of commands that verify what they get from the gateway. */
export function withVerify(command: Command): Command {
  return command.option("--no-verify", "show what comes without verifying its tickets (no trust bundle at hand)");
}

/** For the client library. */
export function verifyBy(context: Context, { verify }: VerifyOptions): TrustSource | "off" {
  if (!verify) return "off";
  const trust = trustOf(context, {});
  return () => trust;
}

/**
 * The trust bundle of --trust-bundle and --trust-root, or of the platform's home. The root key is what everything rests
 * on: who verifies for themselves brings their own copy.
 */
export function trustOf(context: Context, { trustBundle, trustRoot, at }: TrustOptions): TrustBundle {
  const given = [trustBundle, trustRoot].filter((path) => path !== undefined).length;
  if (given === 1) throw new UsageError("--trust-bundle and --trust-root belong together");
  const endpoints = given === 0 ? context.endpoints() : undefined;
  const bundle = readInput(trustBundle ?? context.file(endpoints!.trustBundle));
  const rootFile = trustRoot ?? context.file(endpoints!.trustRoot);
  return loadTrustBundle(bundle, rootKey(readInput(rootFile).toString("utf8"), rootFile), at ?? new Date());
}

function rootKey(pem: string, file: string) {
  try {
    return readRootKey(pem);
  } catch {
    throw new UsageError(`${file} is not a public key (SPKI PEM)`);
  }
}
