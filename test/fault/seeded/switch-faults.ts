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
    const asked = { target: { target: of(world) }, kind: SwitchKind.PAUSE, justification: why, expiresInSeconds };
    const { id } = (await world.clients.switches.pause(asked, as(world, "operator"))).switch!;
    const pause: Pause = { id, target, affects, from: performance.now(), until: Number.POSITIVE_INFINITY };
    world.pauses.push(pause);
    return begun(async () => {
      pause.until = performance.now();
      await lift(world, id);
    });
  },
};

const as = ({ sallyport }: World, person: Person) => ({ bearer: sallyport.token(person), deadlineMs });

/** By two people, as often as it takes. */
async function lift(world: World, switchId: string): Promise<void> {
  const ask = async () => {
    for (const person of ["operator", "approver"] as const)
      await world.clients.switches
        .resume({ switchId, justification: why }, as(world, person))
        .catch((error: { code: string }) => {
          // An earlier try may have come through without its reply.
          if (error.code !== "FAILED_PRECONDITION" && error.code !== "ALREADY_EXISTS") throw error;
        });
    return true;
  };
  await waitFor("two people to lift the switch", ask, { timeoutMs: 60_000, everyMs: 300 });
}

/** Also a pause whose reply was lost holds. */
export async function liftAll(world: World): Promise<void> {
  const { switches } = await world.clients.switches.listSwitches({}, as(world, "operator"));
  for (const { id } of switches) await lift(world, id);
}

export const switchFaults: readonly FaultKind[] = [paused];
