/** API tokens for SDKs that know only bearer keys. */
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { toJson } from "@bufbuild/protobuf";
import {
  CreateTokenResponseSchema,
  CredentialService,
  ListTokensResponseSchema,
  RevokeTokenResponseSchema,
  RotateTokenResponseSchema,
  type Token,
  TokenSchema,
} from "@sallyport/proto/sallyport/governance/v1/credentials";
import { type Command, Option } from "commander";
import type { Context } from "../context.ts";
import { table, timeOf } from "../describe.ts";
import { UsageError } from "../exit-codes.ts";
import { collect, duration, identifier, name, tenantName } from "../parse.ts";
import type { Act } from "../program.ts";

interface CreateOptions {
  name: string;
  service?: string;
  tenant?: string;
  group: string[];
  /** Seconds. */
  for?: number;
  out?: string;
}

export function addTokenCommands(program: Command, act: Act): void {
  const group = program.command("token").description("API tokens of the client API: make, list, rotate, revoke");
  const create = group
    .command("create")
    .description("make a token; it is shown this once, on stdout alone")
    .addOption(new Option("--name <text>", "what it is for").argParser(name).makeOptionMandatory())
    .addOption(new Option("--service <name>", "for a service account instead of yourself (operators)").argParser(name))
    .addOption(new Option("--tenant <name>", "of the service account (default: yours)").argParser(tenantName))
    .addOption(new Option("--group <name>", "that it carries; may be repeated").argParser(collect).default([]))
    .addOption(new Option("--for <duration>", "how long it is good, at most 365d (default: 90d)").argParser(duration))
    .option("--out <file>", "write it there (new, mode 0600) instead of to stdout");
  act(create, createToken);
  const list = group.command("list").description("yours; with --as operator those of the tenant");
  act(list.option("--all", "also what has ended"), listTokens);
  const rotate = group
    .command("rotate")
    .argument("<id>", "the 16 digits after sp_", identifier)
    .description("a successor, shown this once; the former is still good for a while (yours, or a service account's)")
    .addOption(new Option("--keep-for <duration>", "how long the former holds (default: 1h)").argParser(duration))
    .addOption(new Option("--for <duration>", "how long the successor is good, at most 365d (90d)").argParser(duration))
    .option("--out <file>", "write it there (new, mode 0600) instead of to stdout");
  act(rotate, rotateToken);
  const revoke = group
    .command("revoke")
    .argument("<id>", "the 16 digits after sp_", identifier)
    .description("at once, also on requests in flight; yours, or with --as operator one of the tenant")
    .option("--justification <text>", "10 to 2,000 characters; needed for another's");
  act(revoke, revokeToken);
}

async function createToken(context: Context, options: CreateOptions): Promise<void> {
  const call = context.options(options.service === undefined ? "user" : "operator");
  const request = {
    name: options.name,
    serviceAccount: options.service ?? "",
    tenant: options.tenant ?? "",
    groups: options.group,
    expiresInSeconds: BigInt(options.for ?? 0),
  };
  // Made first: a token that could not be written down would be lost, and good for months.
  using file = options.out === undefined ? undefined : newSecretFile(options.out);
  const response = await context.call("governance", CredentialService, (client) => client.createToken(request, call));
  const { token, secret } = response;
  context.note(`token ${token?.id} for ${token?.tenant}:${token?.subject}, good until ${timeOf(token?.expiresAt)}`);
  if (file) {
    file.keep(`${secret}\n`);
    context.print({ token: token && toJson(TokenSchema, token), file: options.out }, () => []);
  } else context.print(toJson(CreateTokenResponseSchema, response), () => secret);
}

async function rotateToken(
  context: Context,
  id: string,
  options: { keepFor?: number; for?: number; out?: string },
): Promise<void> {
  const call = context.options("user");
  const request = {
    id,
    keepForSeconds: BigInt(options.keepFor ?? 0),
    expiresInSeconds: BigInt(options.for ?? 0),
  };
  using file = options.out === undefined ? undefined : newSecretFile(options.out);
  const response = await context.call("governance", CredentialService, (client) => client.rotateToken(request, call));
  const { token, secret, former } = response;
  context.note(`token ${token?.id} takes over; ${former?.id} ends at ${timeOf(former?.expiresAt)}`);
  if (file) {
    file.keep(`${secret}\n`);
    context.print({ token: token && toJson(TokenSchema, token), file: options.out }, () => []);
  } else context.print(toJson(RotateTokenResponseSchema, response), () => secret);
}

interface SecretFile extends Disposable {
  keep(text: string): void;
}

/** Removed again unless something was kept in it. */
function newSecretFile(path: string): SecretFile {
  let handle: number;
  try {
    handle = openSync(path, "wx", 0o600);
  } catch (error) {
    throw new UsageError(`cannot make ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
  let kept = false;
  return {
    keep(text) {
      writeSync(handle, text);
      kept = true;
    },
    [Symbol.dispose]() {
      closeSync(handle);
      if (!kept) rmSync(path, { force: true });
    },
  };
}

async function listTokens(context: Context, { all = false }: { all?: boolean }): Promise<void> {
  const call = context.options("user");
  const request = { includeEnded: all };
  const response = await context.call("governance", CredentialService, (client) => client.listTokens(request, call));
  const { tokens } = response;
  context.print(toJson(ListTokensResponseSchema, response), () =>
    tokens.length === 0
      ? "no API tokens"
      : table([
          ["TOKEN", "NAME", "IDENTITY", "GROUPS", "CREATED BY", "EXPIRES AT", "REVOKED AT"],
          ...tokens.map(rowOf),
        ]),
  );
}

function rowOf({ id, name, tenant, subject, groups, createdBy, expiresAt, revokedAt }: Token): string[] {
  return [id, name, `${tenant}:${subject}`, groups.join(","), createdBy, timeOf(expiresAt), timeOf(revokedAt)];
}

async function revokeToken(context: Context, id: string, options: { justification?: string }): Promise<void> {
  const call = context.options("user");
  const request = { id, justification: options.justification ?? "" };
  const response = await context.call("governance", CredentialService, (client) => client.revokeToken(request, call));
  context.print(toJson(RevokeTokenResponseSchema, response), () => {
    return `token ${id} is revoked since ${timeOf(response.token?.revokedAt)}`;
  });
}
