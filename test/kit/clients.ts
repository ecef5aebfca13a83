/** Typed gRPC clients for callers, reviewers, operators and auditors. */
import { readFileSync } from "node:fs";
import type { Platform } from "@sallyport/infra/platform";
import { AuditService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { CredentialService } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { ModelService } from "@sallyport/proto/sallyport/governance/v1/models";
import { ReviewService } from "@sallyport/proto/sallyport/governance/v1/review";
import { SwitchService } from "@sallyport/proto/sallyport/governance/v1/switches";
import { createClient, parseAddress } from "@sallyport/runtime";

export function grpcClients({ endpoints }: Platform) {
  const tls = { ca: readFileSync(endpoints.ca) };
  const at = (address: string) => ({ address: parseAddress(address), tls });
  const generation = createClient(GenerationService, at(endpoints.gatewayGrpc));
  const models = createClient(ModelService, at(endpoints.governanceGrpc));
  const reviews = createClient(ReviewService, at(endpoints.governanceGrpc));
  const switches = createClient(SwitchService, at(endpoints.governanceGrpc));
  const credentials = createClient(CredentialService, at(endpoints.governanceGrpc));
  const audit = createClient(AuditService, at(endpoints.auditGrpc));
  const all = [generation, models, reviews, switches, credentials, audit];
  return {
    generation,
    models,
    reviews,
    switches,
    credentials,
    audit,
    [Symbol.dispose]: () => {
      for (const client of all) client.close();
    },
  };
}
