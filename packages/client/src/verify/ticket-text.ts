import { fromBinary } from "@bufbuild/protobuf";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";

/** The text of a ticket file that was verified: exactly what its signatures are over. */
export function textOfTicket(ticket: string): string {
  const { windows, held } = JSON.parse(ticket) as { windows: { content: string }[]; held?: { content: string } };
  return (held ? [held] : windows)
    .map(({ content }) => fromBinary(WindowContentSchema, Buffer.from(content, "base64")).text)
    .join("");
}
