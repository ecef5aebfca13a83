import type { Endpoints } from "../endpoints.ts";
import type { Home } from "../home.ts";
import type { Ports } from "../ports.ts";

/** `unknown`: it could not be looked at, for instance because the platform is down. */
export type Level = "ok" | "warn" | "fail" | "unknown";

/** One thing that was looked at: how it is, in one line, and what to do where it is not well. */
export interface Finding {
  readonly check: string;
  readonly level: Level;
  readonly what: string;
  readonly mend?: string;
}

/** The installation that is examined. Nothing of it is changed. */
export interface Subject {
  readonly home: Home;
  /** Undefined when the home has no `endpoints.json`: it never ran. */
  readonly endpoints: Endpoints | undefined;
  readonly ports: Ports;
  /** A runner holds the home: what does not answer then is a fault. */
  readonly running: boolean;
  readonly now: Date;
}

export type Examination = (subject: Subject) => Finding[] | Promise<Finding[]>;

export const ok = (check: string, what: string): Finding => ({ check, level: "ok", what });
export const warn = (check: string, what: string, mend: string): Finding => ({ check, level: "warn", what, mend });
export const fail = (check: string, what: string, mend: string): Finding => ({ check, level: "fail", what, mend });

/** For what needs the running platform: a fault when it runs, else only not known. */
export function away({ running }: Subject, check: string, what: string): Finding {
  return running
    ? fail(check, what, "Look at its file in logs/ of the home; stop and start the platform.")
    : {
        check,
        level: "unknown",
        what: "not looked at: the platform is down",
        mend: "Start it (npm start), then ask again.",
      };
}

/** The faults, or one line that all is well. */
export function summed(check: string, faults: readonly Finding[], well: string): Finding[] {
  return faults.length > 0 ? [...faults] : [ok(check, well)];
}

/** What an error says, without its stack. */
export function said(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return message || code || String(error);
}
