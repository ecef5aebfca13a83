/** Messages that are lost, delivered twice, or out of order. */
import { waitFor } from "@sallyport/runtime/testing";
import { between } from "../support/random.ts";
import { forgetAcks, loseTails } from "./bus-store.ts";
import { collectOutbox, repeatVerdicts, sendAgain } from "./copies.ts";
import { begun, type FaultKind } from "./kind.ts";
import type { World } from "./world.ts";

const bus = () => "nats";

/** kill -9, then its files as a power cut leaves them, then up again. */
const restarted = (name: string, change: (storeDir: string, random: () => number) => number): FaultKind => ({
  name,
  targets: ["nats"],
  lasts: [0, 0],
  touches: bus,
  begin({ sallyport }, _target, random) {
    const { nats } = sallyport.platform;
    const { pid } = nats;
    nats.kill("SIGKILL");
    const changed = nats.stop().then(async () => {
      const count = change(nats.storeDir, random);
      await nats.start();
      return count;
    });
    return begun(
      async () => void (await changed),
      async () => {
        await waitFor("the bus to be gone", () => nats.pid !== pid, { timeoutMs: 20_000 });
        if ((await changed) === 0) throw new Error("nothing was lost: the streams were empty");
      },
    );
  },
});

const wiped: FaultKind = {
  name: "bus wiped",
  targets: ["nats"],
  lasts: [0, 0],
  touches: bus,
  begin({ sallyport }) {
    const gone = sallyport.platform.nats.wipe();
    return begun(
      () => gone,
      () => gone,
    );
  },
};

/** What a service sent is sent once more, in reverse: as by a stream that forgot its ids, or a redelivery that overtakes. */
const copied = (role: "gateway" | "governance"): FaultKind => ({
  name: `messages of ${role} twice and reversed`,
  targets: [role],
  lasts: [1_000, 3_000],
  touches: (target) => `copies of ${target}`,
  begin({ sallyport: { platform } }) {
    const over = new AbortController();
    const collected = collectOutbox(platform, role, over.signal);
    return begun(async () => {
      over.abort();
      await sendAgain(platform, role, await collected);
    });
  },
});

const verdicts: FaultKind = {
  name: "verdicts twice and reversed",
  targets: ["post-moderator"],
  lasts: [0, 0],
  touches: (target) => `copies of ${target}`,
  begin({ sallyport: { platform } }: World, _target, random) {
    const sent = repeatVerdicts(platform, between(random, 5, 40));
    return begun(
      () => {},
      async () => {
        if ((await sent) === 0) throw new Error("there were no verdicts to repeat");
      },
    );
  },
};

export const busFaults: readonly FaultKind[] = [
  restarted("bus restarted with lost tail", loseTails),
  restarted("bus restarted with lost acknowledgements", forgetAcks),
  wiped,
  copied("gateway"),
  copied("governance"),
  verdicts,
];
