/**
 * What a failed database call means for the caller: can the same work be done again without harm, and might it be done
 * already? SQLSTATE codes: PostgreSQL documentation, appendix A.
 */
import { AppError } from "../errors.ts";

/** Serialisation, deadlock, lock timeout: rolled back because of others; the same transaction may succeed next time. */
const collisions = new Set(["40001", "40P01", "55P03"]);
/** Shut down, crash, starting up, too many connections, idle too long: the session is gone or never was. */
const lostSession = /^(08[0-9A-Z]{3}|57P0[1235]|53300|25P03)$/;
const socketCodes = /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/;
/** node-postgres reports these without a code. */
const lostMessages =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|Query read timeout|timeout exceeded when trying to connect|timeout expired|The server does not support SSL|Cannot use a pool after)/;

function sqlState(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** The connection is no longer (or never was) good; nothing is said about what the server did. */
export function isLostConnection(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return lostSession.test(code) || socketCodes.test(code) || lostMessages.test(error.message);
}

export function isCollision(error: unknown): boolean {
  return collisions.has(sqlState(error) ?? "");
}

/** An earlier statement of the transaction failed. */
export function isAborted(error: unknown): boolean {
  return sqlState(error) === "25P02";
}

/** COMMIT failed with an answer that says it was rolled back. Without one, or while shutting down, nobody knows. */
export function isRefusedCommit(error: unknown): boolean {
  const state = sqlState(error);
  return state !== undefined && !lostSession.test(state) && state !== "57014" && state !== "40003";
}

export function unavailable(cause: unknown): AppError {
  const reason = "DATABASE_UNAVAILABLE";
  return new AppError("UNAVAILABLE", "the database cannot be reached; try again", { reason, cause });
}

/**
 * The connection broke between COMMIT and its answer. Whoever gets this must find out (a unique key, a guarded update,
 * reading the row) before doing the work again.
 */
export function commitUnknown(cause: unknown): AppError {
  const reason = "COMMIT_UNKNOWN";
  return new AppError("UNAVAILABLE", "it is not known whether the change was stored; ask for it", { reason, cause });
}

export function hasReason(error: unknown, reason: string): boolean {
  return error instanceof AppError && error.reason === reason;
}
