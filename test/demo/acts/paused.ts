import { Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { SwitchKind } from "@sallyport/proto/sallyport/governance/v1/switches";
import { AppError } from "@sallyport/runtime/client";
import { waitFor } from "@sallyport/runtime/testing";
import { model, type Tour } from "../tour.ts";

/** The pilot model is quick: of several stories some are still being told when the pause comes. */
const stories = 8;

export async function paused(tour: Tour): Promise<void> {
  tour.title("The kill switch, in the middle of a stream");
  tour.say(`${stories} stories are being told. As soon as the first one begins, an operator pauses the model:`);
  const begun = Promise.withResolvers<void>();
  const telling = Array.from({ length: stories }, () => tell(tour, begun.resolve));
  await begun.promise;
  const pausedAt = performance.now();
  const target = { target: { case: "model" as const, value: model } };
  const justification = "Shown during the tour.";
  const asked = { target, kind: SwitchKind.PAUSE, justification, expiresInSeconds: 300n };
  const { switch: pause } = await tour.switches.pause(asked, tour.as("operator"));
  const ended = await Promise.all(telling);
  const cut = ended.filter(({ reason }) => reason === "PAUSED");
  const lastMs = Math.round(Math.max(...cut.map(({ at }) => at)) - pausedAt);
  tour.must(cut.length > 0, `${cut.length} streams ended with their typed error PAUSED, the last after ${lastMs} ms`);
  tour.must((await tell(tour)).reason === "PAUSED", "a new call is refused: UNAVAILABLE, PAUSED");
  tour.say("The same operator cannot lift it alone:");
  const resume = (person: string) =>
    tour.switches.resume({ switchId: pause!.id, justification }, tour.as(person)).then(
      () => "",
      (error: AppError) => error.message,
    );
  await resume("operator");
  tour.say(`  │ ${await resume("operator")}`);
  tour.must((await tell(tour)).reason === "PAUSED", "asked for by one person, it still holds");
  await resume("approver");
  await waitFor("the model to be back", async () => (await tell(tour)).reason === "", { timeoutMs: 10_000 });
  tour.must(true, "a second person lifts it, and the model answers again; all of it is in the log");
  const one = cut.find(({ requestId }) => requestId !== "");
  if (one) tour.ended.push({ what: "the stream that was cut off", requestId: one.requestId });
}

async function tell(tour: Tour, onWindow = () => {}) {
  const content = { model, messages: [{ role: Role.USER, content: "Tell me a long story about the sea." }] };
  let requestId = "";
  try {
    for await (const { event } of tour.generation.chat({ content }, tour.as("user"))) {
      if (event.case === "accepted") requestId = event.value.requestId;
      if (event.case === "window") onWindow();
    }
    return { requestId, reason: "", at: performance.now() };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { requestId, reason: error.reason, at: performance.now() };
  }
}
