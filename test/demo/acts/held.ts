import { fromBinary } from "@bufbuild/protobuf";
import { RequestState, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { waitFor } from "@sallyport/runtime/testing";
import { model, refusalOf, type Tour } from "../tour.ts";

export async function held(tour: Tour): Promise<void> {
  tour.title("An unclear output, held for a person");
  tour.say(
    "The pilot model is asked to say a harmless marker that policy treats as unclear (like EICAR for virus scanners).",
  );
  const messages = [{ role: "user" as const, content: "Say the review phrase." }];
  const refusal = await tour
    .openai()
    .chat.completions.create({ model, messages, temperature: 0 })
    .then(() => undefined, refusalOf);
  tour.must(refusal?.code === "TEST_REVIEW", "held: the caller gets its id, and nothing of the rest");
  const { requestId } = refusal!;
  const reviewer = tour.as("reviewer");
  const { leaseId } = (await waitFor(
    "the review item",
    () => tour.reviews.claimItem({ requestId }, reviewer).catch(() => undefined),
    { timeoutMs: 15_000 },
  ))!;
  const { output } = await tour.reviews.readItem({ requestId, leaseId }, reviewer);
  tour.say("A reviewer claims it and reads it through the vault, under a lease; the reading itself is logged:");
  tour.say(`  │ ${fromBinary(WindowContentSchema, output).text}`);
  const justification = "Harmless test marker, read by a person during the tour.";
  await tour.reviews.decideItem({ requestId, leaseId, decision: ReviewDecision.ALLOW, justification }, reviewer);
  tour.say("The reviewer allows it with a justification; door 2 countersigns; the gateway verifies both.");
  const fetched = await waitFor(
    "the release",
    async () => {
      const request = await tour.generation.getRequest({ requestId }, tour.as("user"));
      return request.outcome?.state === RequestState.RELEASED ? request : undefined;
    },
    { timeoutMs: 15_000 },
  );
  tour.must(fetched!.output.length > 0, "released by a person, fetched by the caller with its id");
  tour.ended.push({ what: "the held and released output", requestId });
}
