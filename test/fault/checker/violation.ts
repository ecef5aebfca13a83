/** A promise that was not kept, with what shows it. */
export interface Violation {
  readonly promise: "P1" | "P2" | "P3" | "P5" | "P7" | "P8";
  readonly what: string;
  readonly requestId?: string;
}

export type Find = (what: string, requestId?: string) => void;

/** Collects what `look` finds; what it throws is a finding as well. */
export function finding(promise: Violation["promise"], look: (find: Find) => void): Violation[] {
  const found: Violation[] = [];
  look((what, requestId) => found.push({ promise, what, ...(requestId !== undefined && { requestId }) }));
  return found;
}

/** What `read` throws is a finding, and there is nothing to look at then. */
export function attempt<T>(find: Find, what: string, requestId: string | undefined, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    find(`${what}: ${(error as Error).message}`, requestId);
    return undefined;
  }
}
