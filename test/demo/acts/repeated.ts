import { randomUUID } from "node:crypto";
import { model, type Tour } from "../tour.ts";

export async function repeated(tour: Tour): Promise<void> {
  tour.title("The same request twice, with an idempotency key");
  const body = { model, messages: [{ role: "user" as const, content: "Tell me about bread." }], temperature: 1 };
  const headers = { "idempotency-key": randomUUID() };
  const ask = () => tour.openai().chat.completions.create(body, { headers });
  const [first, second] = [await ask(), await ask()];
  tour.say(`  │ ${first.choices[0]?.message.content?.trim()}`);
  tour.must(first.id === second.id, "one request in the ledger");
  tour.must(
    first.choices[0]?.message.content === second.choices[0]?.message.content,
    "the same answer, although sampling is random",
  );
}
