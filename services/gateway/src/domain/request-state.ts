/** The ledger's state machine (DESIGN promise P2: exactly one terminal state for every accepted request). */

export const states = ["queued", "running", "held", "released", "blocked", "failed", "cancelled"] as const;
export type State = (typeof states)[number];

export const terminalStates = ["released", "blocked", "failed", "cancelled"] as const satisfies readonly State[];
export type TerminalState = (typeof terminalStates)[number];

export const liveStates = ["queued", "running", "held"] as const satisfies readonly State[];

/** From which states each state may be entered; the ledger's guarded updates are written from this table. */
export const entersFrom: Readonly<Record<State, readonly State[]>> = {
  queued: ["running", "held"],
  running: ["queued"],
  held: ["queued", "running"],
  released: ["running", "held"],
  blocked: ["queued", "running", "held"],
  failed: ["queued", "running", "held"],
  cancelled: ["queued", "running", "held"],
};

export function isTerminal(state: State): state is TerminalState {
  return (terminalStates as readonly State[]).includes(state);
}

export interface AttemptFacts {
  readonly state: State;
  readonly attempt: number;
  readonly windowsReleased: number;
  readonly maxAttempts: number;
}

/**
 * What becomes of a request whose run was lost. Before the first released window it is tried again; after it, or when
 * the tries are used up, it ends: two runs are never spliced.
 */
export function afterLostAttempt(facts: AttemptFacts, retryable: boolean): "retry" | "fail" | "ignore" {
  if (isTerminal(facts.state)) return "ignore";
  if (!retryable || facts.windowsReleased > 0 || facts.state === "held") return "fail";
  return facts.attempt < facts.maxAttempts ? "retry" : "fail";
}
