import { PolicyError } from "@sallyport/policy";
import { AppError } from "@sallyport/runtime";

/** Without a decision by policy nothing passes: the caller is told to try again, the cause goes to the log. */
export function decided<T>(decide: () => T): T {
  try {
    return decide();
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    throw new AppError("UNAVAILABLE", "the policy cannot decide right now; try again", { reason: cause.code, cause });
  }
}
