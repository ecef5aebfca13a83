/** Client certificates of the callers' CA: which identity each stands for. */
import { toJson } from "@bufbuild/protobuf";
import {
  BindCertificateResponseSchema,
  type Certificate,
  CredentialService,
  ListCertificatesResponseSchema,
  UnbindCertificateResponseSchema,
} from "@sallyport/proto/sallyport/governance/v1/credentials";
import { type Command, Option } from "commander";
import type { Context } from "../context.ts";
import { table, timeOf } from "../describe.ts";
import { UsageError } from "../exit-codes.ts";
import { collect, duration, identifier, name, tenantName } from "../parse.ts";
import type { Act } from "../program.ts";

const caller = "operator";

interface BindOptions {
  spiffeId?: string;
  subjectDn?: string;
  subject: string;
  tenant?: string;
  group: string[];
  /** Seconds. */
  for?: number;
}

export function addCertificateCommands(program: Command, act: Act): void {
  const group = program.command("certificate").description("client certificates: bind to an identity, list, unbind");
  const bind = group
    .command("bind")
    .description("let a certificate of the callers' CA stand for an identity")
    .option("--spiffe-id <uri>", "exactly its URI SAN")
    .option("--subject-dn <dn>", "exactly its subject (RFC 4514), such as CN=mail,O=Example")
    .addOption(new Option("--subject <name>", "whom it stands for").argParser(name).makeOptionMandatory())
    .addOption(new Option("--tenant <name>", "default: yours").argParser(tenantName))
    .addOption(new Option("--group <name>", "may be repeated").argParser(collect).default([]).makeOptionMandatory())
    .addOption(new Option("--for <duration>", "default: as long as the certificate is good").argParser(duration));
  act(bind, bindCertificate);
  const list = group.command("list").description("of the tenant").option("--all", "also what has ended");
  act(list, listCertificates);
  const unbind = group
    .command("unbind")
    .argument("<id>", "of the binding", identifier)
    .description("at once, also on requests in flight")
    .requiredOption("--justification <text>", "10 to 2,000 characters");
  act(unbind, unbindCertificate);
}

async function bindCertificate(context: Context, options: BindOptions): Promise<void> {
  const { spiffeId, subjectDn, subject, tenant = "", group: groups } = options;
  if ((spiffeId === undefined) === (subjectDn === undefined))
    throw new UsageError("name the certificate by --spiffe-id or by --subject-dn");
  const match =
    spiffeId !== undefined
      ? { case: "spiffeId" as const, value: spiffeId }
      : { case: "subjectDn" as const, value: subjectDn! };
  const request = { match, subject, tenant, groups, expiresInSeconds: BigInt(options.for ?? 0) };
  const call = context.options(caller);
  const response = await context.call("governance", CredentialService, (client) =>
    client.bindCertificate(request, call),
  );
  const { certificate } = response;
  context.print(toJson(BindCertificateResponseSchema, response), () => {
    return `binding ${certificate?.id}: ${match.value} stands for ${certificate?.tenant}:${subject}`;
  });
}

async function listCertificates(context: Context, { all = false }: { all?: boolean }): Promise<void> {
  const call = context.options(caller);
  const request = { includeEnded: all };
  const response = await context.call("governance", CredentialService, (client) =>
    client.listCertificates(request, call),
  );
  const { certificates } = response;
  context.print(toJson(ListCertificatesResponseSchema, response), () =>
    certificates.length === 0
      ? "no certificates are bound"
      : table([
          ["BINDING", "CERTIFICATE", "IDENTITY", "GROUPS", "EXPIRES AT", "UNBOUND AT"],
          ...certificates.map(rowOf),
        ]),
  );
}

function rowOf({ id, match, tenant, subject, groups, expiresAt, unboundAt }: Certificate): string[] {
  return [id, match.value ?? "", `${tenant}:${subject}`, groups.join(","), timeOf(expiresAt), timeOf(unboundAt)];
}

async function unbindCertificate(context: Context, id: string, options: { justification: string }): Promise<void> {
  const call = context.options(caller);
  const request = { id, justification: options.justification };
  const response = await context.call("governance", CredentialService, (client) =>
    client.unbindCertificate(request, call),
  );
  context.print(toJson(UnbindCertificateResponseSchema, response), () => `binding ${id} is gone`);
}
