/**
 * Every gRPC call between services, once: the mTLS allowlists are read from here by the services themselves, and
 * infra/flows.ts joins it with what outsiders may call. A call that is not here is refused.
 */
import { ReceiptService, VaultService } from "./gen/sallyport/audit/v1/audit_pb.ts";
import { PostModerationService, PreModerationService } from "./gen/sallyport/moderation/v1/moderation_pb.ts";
import { WatermarkService } from "./gen/sallyport/watermark/v1/watermark_pb.ts";
import type { ServiceName } from "./subjects.ts";

export interface Call {
  readonly from: ServiceName;
  readonly to: ServiceName;
  /** Full name, as gRPC's path has it. */
  readonly service: string;
  readonly why: string;
}

export const calls: readonly Call[] = [
  { from: "gateway", to: "pre-moderator", service: PreModerationService.typeName, why: "door 1's verdict" },
  { from: "gateway", to: "audit", service: ReceiptService.typeName, why: "receipts for callers" },
  { from: "gateway", to: "watermarker", service: WatermarkService.typeName, why: "detection for callers" },
  {
    from: "governance",
    to: "post-moderator",
    service: PostModerationService.typeName,
    why: "countersignature of a person's release",
  },
  { from: "governance", to: "audit", service: VaultService.typeName, why: "bodies for a reviewer under a lease" },
];

/** Services whose certificate may call `grpcService` on `server`; empty for those that callers reach with a token. */
export function allowedCallers(server: ServiceName, grpcService: string): ServiceName[] {
  return calls.filter(({ to, service }) => to === server && service === grpcService).map(({ from }) => from);
}
