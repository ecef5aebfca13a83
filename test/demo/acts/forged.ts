import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { connect, headers, nkeyAuthenticator } from "@nats-io/transport-node";
import { createSigner, createStatement, signStatement } from "@sallyport/attestation";
import { VerdictMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { subjects } from "@sallyport/proto/subjects";
import { model, type Tour } from "../tour.ts";

export async function forged(tour: Tour): Promise<void> {
  tour.title("A forged release, refused");
  tour.say("A thief has stolen the worker's bus credentials and tries to publish a verdict:");
  tour.must(
    !(await publishes(tour, "inference-worker", "01890000-0000-7000-8000-000000000000")),
    "the bus refuses: verdicts are not the worker's subjects",
  );
  tour.say(
    "Now the thief has door 2's bus credentials, but not its signing key, and forges a release for a running stream:",
  );
  const content = { model, messages: [{ role: Role.USER, content: "Tell me a long story about the sea." }] };
  let text = "";
  let outcome = "";
  try {
    for await (const { event } of tour.generation.chat({ content }, tour.as("user"))) {
      if (event.case === "accepted") await publishes(tour, "post-moderator", event.value.requestId);
      if (event.case === "window") text += new TextDecoder().decode(event.value.content);
      if (event.case === "outcome") outcome = event.value.code;
    }
  } catch (error) {
    tour.say(`  │ ${(error as Error).message}`);
  }
  tour.must(!text.includes("FORGED"), "not a byte of the forgery reached the caller");
  tour.must(
    outcome === "TICKET_INVALID" || outcome === "",
    outcome === ""
      ? "it came too late to matter, and changed nothing"
      : "the stream ended as TICKET_INVALID, in the ledger and in the log",
  );
}

/** Publishes a verdict that says "allow" over chosen bytes, signed with a key that nobody appointed. False when the bus refuses. */
async function publishes(tour: Tour, thief: string, requestId: string): Promise<boolean> {
  const file = (folder: string, name: string) => readFileSync(join(tour.home, folder, name));
  const bus = await connect({
    servers: tour.endpoints.nats,
    authenticator: nkeyAuthenticator(
      new TextEncoder().encode(file("secrets", `nats-${thief}.nk`).toString("utf8").trim()),
    ),
    tls: {
      ca: file("pki", "ca.crt").toString(),
      cert: file("pki", `${thief}.crt`).toString(),
      key: file("pki", `${thief}.key`).toString(),
    },
    inboxPrefix: `_INBOX_${thief}`,
  });
  try {
    const refused = new Promise<boolean>((resolve) => {
      void (async () => {
        for await (const status of bus.status()) if (status.type === "error") resolve(true);
      })();
    });
    const extra = headers();
    extra.set("Nats-Msg-Id", `forged.${requestId}`);
    bus.publish(subjects.verdict("gw-0", requestId), forgery(requestId), { headers: extra });
    await bus.flush();
    return !(await Promise.race([refused, new Promise<boolean>((resolve) => setTimeout(resolve, 300, false))]));
  } finally {
    await bus.close();
  }
}

function forgery(requestId: string): Uint8Array {
  const signer = createSigner(generateKeyPairSync("ed25519").privateKey, "door2");
  const now = Date.now();
  const zero = "0".repeat(64);
  const envelope = signStatement(
    createStatement(
      { name: "output", digest: zero },
      {
        ...{ requestId, tenant: "demo", attempt: 1, stage: "door2", modality: "text", decision: "allow", findings: [] },
        ...{ policyDigest: zero, modelDigest: zero, index: 0, prev: zero, final: true },
        issuedAt: new Date(now).toISOString(),
        expiresAt: new Date(now + 60_000).toISOString(),
      },
    ),
    signer,
  );
  const window = { decision: Decision.ALLOW, envelope, content: new TextEncoder().encode("FORGED"), final: true };
  return toBinary(
    VerdictMessageSchema,
    create(VerdictMessageSchema, { requestId, attempt: 1, index: 0, body: { case: "window", value: window } }),
  );
}
