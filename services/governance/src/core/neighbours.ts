import { AppError, asAppError } from "@sallyport/runtime";

/** A call to a neighbour: what it refuses is passed on; where and why it cannot be reached is for the log alone. */
export async function askNeighbour<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const { code } = asAppError(error);
    const refused = code !== "UNAVAILABLE" && code !== "DEADLINE_EXCEEDED";
    if (refused) throw error;
    throw new AppError("UNAVAILABLE", `${what} does not answer; try again`, {
      reason: "NEIGHBOUR_UNAVAILABLE",
      cause: error,
    });
  }
}
