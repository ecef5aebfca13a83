/** A user of the platform's real NATS server, by its own credentials: what the server lets it do, and what not. */
import { connect, createInbox, type NatsConnection, PermissionViolationError } from "@nats-io/transport-node";
import type { Platform } from "@sallyport/infra/platform";
import type { ServiceName } from "@sallyport/proto/subjects";
import { connectionOptions } from "../../infra/local/nats/provisioner.ts";

export type Verdict = "allowed" | "refused";

export interface BusUser extends AsyncDisposable {
  readonly nc: NatsConnection;
  /** Whether the server takes it, not whether anybody answers. */
  publish(subject: string, payload?: string | Uint8Array): Promise<Verdict>;
  /** The answer: an object where it is JSON, else its bytes. */
  ask(subject: string, payload?: string | Uint8Array): Promise<unknown>;
  subscribe(subject: string): Promise<Verdict>;
}

const answerMs = 5_000;
const openBrace = 0x7b;

export async function connectAs(platform: Platform, service: ServiceName | "operator"): Promise<BusUser> {
  const nc = await connect({ ...connectionOptions(platform.home, platform.ports.nats, service), reconnect: false });
  const refused = new Set<string>();
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type !== "error" || !(status.error instanceof PermissionViolationError)) continue;
      refused.add(`${status.error.operation} ${status.error.subject}`);
    }
  })();
  // The server's refusal comes before its answer to a flush; a second flush lets the client take note of it.
  const verdict = async (what: string) => {
    await nc.flush();
    await nc.flush();
    return refused.delete(what) ? "refused" : "allowed";
  };
  return {
    nc,
    async ask(subject, payload = "") {
      const reply = await nc.request(subject, payload, { timeout: answerMs });
      return reply.data[0] === openBrace ? reply.json() : reply.data;
    },
    async publish(subject, payload = "") {
      // With a place for the answer, or the server would take a question for a message to nobody.
      nc.publish(subject, payload, { reply: createInbox(`_INBOX_${service}`) });
      return await verdict(`publish ${subject}`);
    },
    async subscribe(subject) {
      const subscription = nc.subscribe(subject, { callback: () => {} });
      const answer = await verdict(`subscription ${subject}`);
      subscription.unsubscribe();
      return answer;
    },
    [Symbol.asyncDispose]: () => nc.close(),
  };
}
