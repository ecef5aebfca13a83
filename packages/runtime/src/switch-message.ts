import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SwitchTargetSchema } from "@sallyport/proto/sallyport/governance/v1/switches";
import type { SwitchTarget } from "./switch-index.ts";

/** A switch's target as SwitchService has it. */
export function switchTargetMessage(target: SwitchTarget): MessageInitShape<typeof SwitchTargetSchema>["target"] {
  switch (target.scope) {
    case "all":
      return { case: "everything", value: true };
    case "model":
      return { case: "model", value: target.model };
    case "tenant":
      return { case: "tenant", value: target.tenant };
    case "credential":
      return { case: "credential", value: target.credential };
    case "identity": {
      const { tenant, issuer, subject } = target;
      return { case: "identity", value: { tenant, issuer, subject } };
    }
  }
}
