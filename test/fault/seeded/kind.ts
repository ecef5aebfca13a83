/** What can be done to a platform by the seeded scheduler. */

import type { Fault } from "../support/faults.ts";
import type { Random } from "../support/random.ts";
import type { World } from "./world.ts";

export interface FaultKind {
  readonly name: string;
  /** One of these is hit. */
  readonly targets: readonly string[];
  /** How long it lasts, in milliseconds; what is over at once is not undone but waited for. */
  readonly lasts: readonly [shortest: number, longest: number];
  /** What must not be hit by something else meanwhile. */
  readonly touches: (target: string) => string;
  /** Why it cannot be done on this machine. */
  readonly impossible?: (world: World) => string | undefined;
  /** Takes effect at once. All chance comes from `random`. */
  readonly begin: (world: World, target: string, random: Random) => Fault | Promise<Fault>;
}

/** Its effect is there when it returns: nothing to wait for. */
export function begun(undo: () => void | Promise<void>, fired: () => void | Promise<void> = () => {}): Fault {
  return { fired: async () => fired(), undo: async () => undo() };
}
