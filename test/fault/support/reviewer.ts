/** A person at the review queue: takes what waits, decides most of it, and leaves the rest; faults are met with patience. */

import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { delay } from "@sallyport/runtime";
import type { grpcClients, TestPlatform } from "../../kit/index.ts";
import type { Random } from "./random.ts";

const lookEveryMs = 400;
const deadlineMs = 3_000;

export class Reviewer {
  /** What was decided, as far as governance said that it took the decision. */
  readonly decided = new Map<string, "allow" | "deny">();
  readonly #seen = new Set<string>();
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;

  start(sallyport: TestPlatform, { reviews }: ReturnType<typeof grpcClients>, random: Random): void {
    const options = () => ({ bearer: sallyport.token("reviewer"), deadlineMs });
    const takeOne = async (requestId: string) => {
      const chance = random();
      const decision = chance < 0.5 ? "allow" : "deny";
      // A quarter goes on waiting: the promise holds for those too.
      if (chance >= 0.75) return;
      const { leaseId } = await reviews.claimItem({ requestId }, options());
      const justification = "harmless marker, seen by a person";
      const asked = decision === "allow" ? ReviewDecision.ALLOW : ReviewDecision.DENY;
      await reviews.decideItem({ requestId, leaseId, decision: asked, justification }, options());
      this.decided.set(requestId, decision);
    };
    const look = async () => {
      const { items } = await reviews.listItems({ pageSize: 200 }, options());
      for (const { requestId } of items.filter((item) => !this.#seen.has(item.requestId))) {
        this.#seen.add(requestId);
        await takeOne(requestId);
      }
    };
    this.#loop = (async () => {
      while (!this.#stop.signal.aborted) {
        // What fails is no news here: the checker asks ledger and log what became of it.
        await look().catch(() => {});
        await delay(lookEveryMs, this.#stop.signal).catch(() => {});
      }
    })();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }
}
