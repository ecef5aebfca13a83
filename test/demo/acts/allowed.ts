import { model, type Tour } from "../tour.ts";

export async function allowed(tour: Tour): Promise<void> {
  tour.title("An allowed chat, streamed");
  tour.say("Asked with the unmodified OpenAI SDK. Each piece below is one window: written by the model,");
  tour.say("judged by door 2, its release ticket verified and committed, and only then sent.");
  const messages = [{ role: "user" as const, content: "What is Sallyport?" }];
  const stream = await tour.openai().chat.completions.create({ model, messages, stream: true, temperature: 0 });
  let pieces = 0;
  for await (const chunk of stream) {
    const text = chunk.choices[0]?.delta.content;
    if (text) tour.say(`  │ ${text.trim()}`);
    if (text) pieces += 1;
    const { sallyport } = chunk as unknown as { sallyport?: { request_id: string } };
    if (sallyport) tour.ended.push({ what: "the allowed chat", requestId: sallyport.request_id });
  }
  tour.must(pieces > 0, `released in ${pieces} windows`);
}
