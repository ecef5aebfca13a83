/** Whether a call or a request falls under a switch, or came with a credential that is not believed any more. */
import {
  AppError,
  type CredentialRef,
  type SwitchCode,
  type SwitchFacts,
  switchCode,
  switchError,
  type WatchedCredentials,
  type WatchedSwitches,
} from "@sallyport/runtime";
import type { RequestRow } from "../db/ledger.ts";
import { isAtWork } from "../domain/request-state.ts";
import type { Told } from "./moves.ts";

export interface About extends SwitchFacts {
  /** Entry of the signed credentials; empty or undefined for an access token. */
  readonly credentialRef?: string | undefined;
}

/** What decides it: both watched, so that asking needs no network. */
export interface Switchboard {
  readonly switches: Pick<WatchedSwitches, "find">;
  readonly credentials: Pick<WatchedCredentials, "believes">;
}

export interface Off {
  readonly code: SwitchCode;
  /** Empty where a credential is gone. */
  readonly switchId: string;
}

/** Undefined: nothing stands against it. Throws UNAVAILABLE/STATE_STALE when nobody knows. */
export function offOf({ switches, credentials }: Switchboard, about: About): Off | undefined {
  const found = switches.find(about);
  if (found) return { code: switchCode(found), switchId: found.id };
  if (!about.credentialRef || credentials.believes(about.credentialRef as CredentialRef)) return undefined;
  return { code: "CREDENTIAL_REVOKED", switchId: "" };
}

/** Throws PAUSED, BANNED, CREDENTIAL_REVOKED or STATE_STALE. */
export function refuseOff(board: Switchboard, about: About): void {
  const off = offOf(board, about);
  if (off) throw switchError(off.code);
}

/** As `refuseOff`, for a call that is under way: the error to end it with. */
export function errorFor(board: Switchboard, about: About): AppError | undefined {
  try {
    refuseOff(board, about);
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}

export function aboutOf({ tenant, issuer, subject, credential, model, credentialRef }: RequestRow): About {
  return { tenant, issuer, subject, credential, model, credentialRef };
}

/** How a request ends that falls under a switch now; undefined when it does not, or nobody knows. */
export function endingWhileOff(board: Switchboard, row: RequestRow): Told | undefined {
  const off = knownOff(board, row);
  if (!off) return undefined;
  const detail = { windowsReleased: row.windowsReleased, ...(off.switchId && { switchId: off.switchId }) };
  return { state: "cancelled", code: off.code, stage: "gateway", detail };
}

/** The same for one that is at work: what waits for a person keeps waiting. */
export function endingAtWork(board: Switchboard, row: RequestRow): Told | undefined {
  return isAtWork(row) ? endingWhileOff(board, row) : undefined;
}

/** Of these entries those that are gone; none while nobody knows. */
export function unbelieved(credentials: Switchboard["credentials"], refs: readonly string[]): string[] {
  return refs.filter((ref) => {
    try {
      return !credentials.believes(ref as CredentialRef);
    } catch {
      return false;
    }
  });
}

function knownOff(board: Switchboard, row: RequestRow): Off | undefined {
  try {
    return offOf(board, aboutOf(row));
  } catch {
    return undefined;
  }
}
