/** The ledger's state machine (DESIGN promise P2: exactly one terminal state for every accepted request). Pure. */

export const states = ["queued", "running", "held", "released", "blocked", "failed", "cancelled"] as const;
export type State = (typeof states)[number];

export const terminalStates = ["released", "blocked", "failed", "cancelled"] as const satisfies readonly State[];
export type TerminalState = (typeof terminalStates)[number];

/** From which states each state may be entered; the ledger's updates are guarded by it. */
export const entersFrom: Readonly<Record<State, readonly State[]>> = {
  queued: ["queued", "running", "held"],
  running: ["queued"],
  held: ["running", "held"],
  released: ["running", "held"],
  blocked: ["queued", "running", "held"],
  failed: ["queued", "running", "held"],
  cancelled: ["queued", "running", "held"],
};

export function isTerminal(state: State): state is TerminalState {
  return (terminalStates as readonly State[]).includes(state);
}

export type HoldStage = "door1" | "collecting" | "door2";

export interface Facts {
  readonly state: State;
  readonly holdStage: HoldStage | null;
  readonly attempt: number;
  readonly windowsReleased: number;
}

export interface Times {
  readonly deadlineAt: Date;
  readonly holdExpiresAt: Date | null;
  readonly progressAt: Date | null;
}

/** A worker may be at it: also while door 2 still reads the rest of an output that it holds. */
export function isAtWork({ state, holdStage }: Pick<Facts, "state" | "holdStage">): boolean {
  return state === "queued" || state === "running" || (state === "held" && holdStage === "collecting");
}

/** Whether a verdict on this attempt still says anything about the request. */
export function isJudgedNow(facts: Facts, attempt: number): boolean {
  return attempt >= 1 && facts.attempt === attempt && isAtWork(facts);
}

/**
 * What becomes of a request whose run was lost. Before the first released window it is tried again; after it, or when
 * the tries are used up, it ends: two runs are never spliced. One that waits for a person needs no run any more.
 */
export function afterLostAttempt(facts: Facts, retryable: boolean, maxAttempts: number): "retry" | "fail" | "ignore" {
  if (!isAtWork(facts)) return "ignore";
  if (!retryable || facts.windowsReleased > 0 || facts.state === "held") return "fail";
  return facts.attempt < maxAttempts ? "retry" : "fail";
}

export interface Patience {
  /** A run that says nothing for this long is lost. */
  readonly stallMs: number;
}

/** What time asks of a live request: `expire` a hold, `fail` past its deadline, or a `lost` run. */
export function dueNow(facts: Facts & Times, now: Date, { stallMs }: Patience): "expire" | "fail" | "lost" | undefined {
  if (isTerminal(facts.state)) return undefined;
  const passed = (since: Date | null, ms = 0) => since !== null && since.getTime() + ms < now.getTime();
  if (!isAtWork(facts)) return passed(facts.holdExpiresAt) ? "expire" : undefined;
  if (passed(facts.deadlineAt) || (facts.state === "held" && passed(facts.holdExpiresAt))) return "fail";
  return facts.state === "running" && passed(facts.progressAt, stallMs) ? "lost" : undefined;
}
