/** Bodies: read within bounds of size and time, decoded strictly, looked over before they are parsed. */
import type { IncomingMessage } from "node:http";
import { AppError } from "@sallyport/runtime";
import type { FastifyInstance } from "fastify";
import { type HttpLimits, httpLimits } from "./limits.ts";

/** JSON is all that is read. Invalid UTF-8 is refused: decoding it leniently would judge other bytes than were sent. */
export function readJsonOnly(app: FastifyInstance, limits: HttpLimits = httpLimits): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", (request, payload, done) => {
    readBody(payload as IncomingMessage, limits)
      .then((body) => {
        const text = decode(body);
        checkJsonSize(text, limits);
        return text;
      })
      .then((text) => parse(request, text, done), done);
  });
}

/**
 * Throws INVALID_ARGUMENT: BODY_TOO_LARGE, BODY_TOO_SLOW (whoever sends at a trickle must not hold a connection for long),
 * BODY_MALFORMED when it breaks off or its framing is wrong, UNSUPPORTED_ENCODING.
 */
export async function readBody(payload: IncomingMessage, limits: HttpLimits): Promise<Buffer> {
  const { "content-length": length, "content-encoding": encoding } = payload.headers;
  if (encoding !== undefined && encoding.toLowerCase() !== "identity")
    throw refused("UNSUPPORTED_ENCODING", "send the body as it is, without content-encoding");
  if (Number(length) > limits.bodyBytes) throw tooLarge(limits);
  const { promise: late, reject } = Promise.withResolvers<never>();
  const allowedMs = limits.bodyGraceMs + (Number(length ?? limits.bodyBytes) / limits.bodyBytesPerSecond) * 1_000;
  const timer = setTimeout(
    () => reject(refused("BODY_TOO_SLOW", "the body came too slowly; send it again")),
    allowedMs,
  );
  try {
    return await Promise.race([collect(payload, limits), late]);
  } finally {
    clearTimeout(timer);
  }
}

function collect(payload: IncomingMessage, limits: HttpLimits): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  payload.on("data", (chunk: Buffer) => {
    size += chunk.length;
    // What still comes is let go by: the answer must not wait for it.
    if (size > limits.bodyBytes) reject(tooLarge(limits));
    else chunks.push(chunk);
  });
  payload.on("end", () => resolve(Buffer.concat(chunks)));
  payload.on("close", () => reject(refused("BODY_MALFORMED", "the body broke off")));
  payload.on("error", () => reject(refused("BODY_MALFORMED", "the body broke off")));
  return promise;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function decode(body: Buffer): string {
  try {
    return utf8.decode(body);
  } catch {
    throw refused("BODY_MALFORMED", "the body is not valid UTF-8");
  }
}

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Throws INVALID_ARGUMENT (JSON_TOO_DEEP, JSON_TOO_COMPLEX) from one pass over the text, before memory is spent on values.
 * Whether it is JSON at all is the parser's question.
 */
export function checkJsonSize(text: string, limits: Pick<HttpLimits, "jsonDepth" | "jsonNodes"> = httpLimits): void {
  let [depth, nodes] = [0, 1];
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === quote) at = endOfString(text, at);
    else if (char === openList || char === openObject) {
      depth += 1;
      nodes += 1;
      if (depth > limits.jsonDepth)
        throw refused("JSON_TOO_DEEP", `the JSON is nested more than ${limits.jsonDepth} levels deep`);
    } else if (char === closeList || char === closeObject) depth -= 1;
    else if (char === comma || char === colon) nodes += 1;
    if (nodes > limits.jsonNodes)
      throw refused("JSON_TOO_COMPLEX", `the JSON has more than ${limits.jsonNodes} values and names`);
  }
}

/** Position of the closing quote, or the text's end. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === backslash) at += 1;
    else if (char === quote) return at;
  }
  return text.length;
}

function tooLarge({ bodyBytes }: HttpLimits): AppError {
  return refused("BODY_TOO_LARGE", `the body is too large; at most ${bodyBytes / 1024} KiB are read`);
}

function refused(reason: string, message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message, { reason });
}
