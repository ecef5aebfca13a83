/** What the acts share: clients of the running platform, a voice, and what was seen so far. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AuditService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ReviewService } from "@sallyport/proto/sallyport/governance/v1/review";
import { SwitchService } from "@sallyport/proto/sallyport/governance/v1/switches";
import { createClient, parseAddress } from "@sallyport/runtime/client";
import OpenAI from "openai";

export interface Endpoints {
  readonly gatewayHttp: string;
  readonly gatewayGrpc: string;
  readonly governanceGrpc: string;
  readonly auditGrpc: string;
  readonly nats: string;
  readonly ca: string;
  readonly trustBundle: string;
  readonly trustRoot: string;
}

export const model = "pilot-text";
export const deadlineMs = 60_000;

export function openTour(home: string, endpoints: Endpoints) {
  const tls = { ca: readFileSync(endpoints.ca) };
  const token = (person: string) => readFileSync(join(home, "credentials", `${person}.token`), "utf8").trim();
  const generation = createClient(GenerationService, { address: parseAddress(endpoints.gatewayGrpc), tls });
  const reviews = createClient(ReviewService, { address: parseAddress(endpoints.governanceGrpc), tls });
  const switches = createClient(SwitchService, { address: parseAddress(endpoints.governanceGrpc), tls });
  const audit = createClient(AuditService, { address: parseAddress(endpoints.auditGrpc), tls });
  return {
    home,
    endpoints,
    generation,
    reviews,
    switches,
    audit,
    act: 0,
    /** Requests that ended, whose proof is shown at the end. */
    ended: [] as { what: string; requestId: string }[],
    as: (person: string) => ({ bearer: token(person), deadlineMs }),
    openai: () => new OpenAI({ baseURL: endpoints.gatewayHttp, apiKey: token("user"), maxRetries: 0 }),
    title(text: string) {
      console.log(`\n── ${this.act}. ${text} ${"─".repeat(Math.max(3, 74 - text.length))}`);
    },
    say: (text: string) => console.log(`   ${text}`),
    /** The tour is a check as well: what does not hold stops it. */
    must(holds: boolean, promise: string) {
      if (!holds) throw new Error(`this should hold and does not: ${promise}`);
      console.log(`   ✓ ${promise}`);
    },
    [Symbol.dispose]() {
      for (const client of [generation, reviews, switches, audit]) client.close();
    },
  };
}
export type Tour = ReturnType<typeof openTour>;

/** The error of a refused OpenAI call, with our public code. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly requestId: string;
}

export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof OpenAI.APIError)) throw error;
  const { code, message, sallyport } = error.error as {
    code: string;
    message: string;
    sallyport?: { requestId?: string };
  };
  return { code, message, requestId: sallyport?.requestId ?? "" };
}
