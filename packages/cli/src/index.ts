export { type ExitCode, exitCodes } from "./exit-codes.ts";
export type { Io } from "./io.ts";
export { run } from "./program.ts";
export { encodeReceipt, parseReceipt, type Receipt, verifyReceipt } from "./receipt-file.ts";
