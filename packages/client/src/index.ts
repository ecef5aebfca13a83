export { ChatStream } from "./chat.ts";
export { createClient, SallyportClient } from "./client.ts";
export { type ErrorCode, errorCodes, SallyportError, VerificationError } from "./errors.ts";
export type { ClientOptions, Token } from "./options.ts";
export type { Receipt } from "./transport/transport.ts";
export type * from "./types.ts";
export { parseRecord, type VerifiedReceipt, verifyReceipt } from "./verify/receipt.ts";
export type { TrustInput, TrustSource } from "./verify/trust.ts";
