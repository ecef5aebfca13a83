/** Server-sent events as the gateway writes them (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
import { malformed } from "../views.ts";

/** A window's content has at most 1 MiB, which base64 and its ticket make longer. */
const maxEventChars = 4 * 1024 * 1024;

/** The data of each event, up to `[DONE]` or the end. */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let unread = "";
  for await (const bytes of body) {
    unread += decode(decoder, bytes);
    if (unread.length > maxEventChars) throw malformed("an event is too long");
    const events = unread.split("\n\n");
    unread = events.pop()!;
    for (const event of events) {
      const data = dataOf(event);
      if (data === "[DONE]") return;
      if (data !== undefined) yield parse(data);
    }
  }
}

function decode(decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes, { stream: true });
  } catch (cause) {
    throw malformed("it is not UTF-8", cause);
  }
}

/** Undefined for comments, which keep a connection open. */
function dataOf(event: string): string | undefined {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  return lines.length === 0 ? undefined : lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch (cause) {
    throw malformed("an event is not JSON", cause);
  }
}
