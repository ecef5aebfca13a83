import { createReadStream, readFileSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ImportModelRequestSchema,
  type Model,
  ModelService,
  ModelState,
} from "@sallyport/proto/sallyport/governance/v1/models";
import { type Client, createClient, parseAddress } from "@sallyport/runtime";
import type { Endpoints } from "./endpoints.ts";
import { REPOSITORY } from "./home.ts";

const FOLDER = join(REPOSITORY, "models", "pilot-text");
const CHUNK_BYTES = 512 * 1024;
const IMPORT_DEADLINE_MS = 120_000;
const CALL_DEADLINE_MS = 15_000;

interface PilotManifest {
  readonly name: string;
  readonly version: string;
  readonly file: string;
  readonly sha256: string;
  readonly engine: string;
  readonly contextTokens: number;
  readonly licence: string;
  readonly tier: string;
  readonly card: string;
}

/** Access tokens of two people: nobody approves what they imported. */
export interface TwoPeople {
  readonly importer: string;
  readonly approver: string;
}

/**
 * Imports the shipped pilot model and has it approved, by the registry's own calls, where the registry does not know its
 * digest yet. A model that was revoked stays revoked. Returns the name under which it is served, if it is.
 */
export async function ensurePilotModel(
  endpoints: Endpoints,
  people: TwoPeople,
  log: (line: string) => void,
): Promise<string | undefined> {
  const manifest = JSON.parse(readFileSync(join(FOLDER, "manifest.json"), "utf8")) as PilotManifest;
  const client = createClient(ModelService, {
    address: parseAddress(endpoints.governanceGrpc),
    tls: { ca: readFileSync(endpoints.ca) },
    serverName: "governance",
  });
  try {
    const known = await find(client, people.importer, manifest.sha256);
    if (known === undefined) {
      await client.importModel(parts(manifest), { deadlineMs: IMPORT_DEADLINE_MS, bearer: people.importer });
      log(`pilot model: ${manifest.name} ${manifest.version} imported by the operator`);
    }
    if (known?.state === ModelState.REVOKED) return undefined;
    if (known?.state === ModelState.APPROVED) return manifest.name;
    const justification = "Shipped with Sallyport; approved at the first start of a development installation.";
    await client.approveModel(
      { digest: manifest.sha256, justification },
      { deadlineMs: CALL_DEADLINE_MS, bearer: people.approver },
    );
    log("pilot model: approved by the second person");
    return manifest.name;
  } finally {
    client.close();
  }
}

async function find(client: Client<typeof ModelService>, bearer: string, digest: string): Promise<Model | undefined> {
  const { models } = await client.listModels({}, { deadlineMs: CALL_DEADLINE_MS, bearer });
  return models.find((model) => model.digest === digest);
}

/** The metadata, then the file in chunks. */
async function* parts(manifest: PilotManifest): AsyncGenerator<MessageInitShape<typeof ImportModelRequestSchema>> {
  const { name, version, engine, licence, tier, contextTokens, sha256: digest } = manifest;
  const card = readFileSync(join(FOLDER, manifest.card), "utf8");
  yield { part: { case: "metadata", value: { name, version, engine, licence, tier, contextTokens, digest, card } } };
  for await (const chunk of createReadStream(join(FOLDER, manifest.file), { highWaterMark: CHUNK_BYTES })) {
    yield { part: { case: "chunk", value: chunk as Buffer } };
  }
}
