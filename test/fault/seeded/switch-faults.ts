/** The kill switch, pulled in the middle of everything else by one operator, and lifted by two. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { SwitchKind, type SwitchTargetSchema } from "@sallyport/proto/sallyport/governance/v1/switches";
import { waitFor } from "@sallyport/runtime/testing";
import { decodeJwt } from "jose";
import { model, type Person } from "../../kit/index.ts";
import { begun, type FaultKind } from "./kind.ts";
import type { World } from "./world.ts";

/** One pause, as those who pulled it saw it; times are performance.now(). */
export interface Pause {
  readonly id: string;
  readonly target: string;
  readonly affects: readonly Person[];
  /** When the reply was there that it holds. */
  readonly from: number;
  /** When the first call to lift it was sent; not yet is Infinity. */
  until: number;
}

const deadlineMs = 3_000;
/** Should nobody be able to lift it, it ends by itself. */
const expiresInSeconds = 120n;
const why = "An exercise of the kill switch.";

const targets = {
  everything: { affects: ["user", "outsider"], of: () => ({ case: "everything", value: true }) },
  "the model": { affects: ["user", "outsider"], of: () => ({ case: "model", value: model }) },
  "the other tenant": { affects: ["outsider"], of: () => ({ case: "tenant", value: "other" }) },
  "one person": { affects: ["user"], of: identityOf },
} as const satisfies Record<string, { affects: readonly Person[]; of: (world: World) => Target }>;
type Target = NonNullable<MessageInitShape<typeof SwitchTargetSchema>["target"]>;

function identityOf({ sallyport }: World): Target {
  const { iss, sub } = decodeJwt(sallyport.token("user"));
  return { case: "identity", value: { tenant: "demo", issuer: iss!, subject: sub! } };
}

const paused: FaultKind = {
  name: "paused",
  targets: Object.keys(targets),
  lasts: [3_000, 7_000],
  touches: () => "kill switch",
  async begin(world, target) {
    const { affects, of } = targets[target as keyof typeof targets];
    const { switches } = world.clients;
    const as = (person: Person) => ({ bearer: world.sallyport.token(person), deadlineMs });
    const asked = { target: { target: of(world) }, kind: SwitchKind.PAUSE, justification: why, expiresInSeconds };
    const { id } = (await switches.pause(asked, as("operator"))).switch!;
    const pause: Pause = { id, target, affects, from: performance.now(), until: Number.POSITIVE_INFINITY };
    world.pauses.push(pause);
    const lift = async () => {
      for (const person of ["operator", "approver"] as const)
        await switches.resume({ switchId: id, justification: why }, as(person)).catch((error: { code: string }) => {
          // An earlier try may have come through without its reply.
          if (error.code !== "FAILED_PRECONDITION" && error.code !== "ALREADY_EXISTS") throw error;
        });
      return true;
    };
    return begun(async () => {
      pause.until = performance.now();
      await waitFor("two people to lift the switch", lift, { timeoutMs: 60_000, everyMs: 300 });
    });
  },
};

export const switchFaults: readonly FaultKind[] = [paused];
