import { AppError } from "@sallyport/runtime";

/** Says so, rather than that there is no mark: a caller must not take "not looked" for "not found". */
export async function detect(): Promise<never> {
  throw new AppError("FAILED_PRECONDITION", "no image support yet: text does not pass through the watermarker", {
    reason: "IMAGES_NOT_SUPPORTED",
  });
}
