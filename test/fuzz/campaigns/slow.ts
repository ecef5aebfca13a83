/** Callers that take their time: heads and bodies that never end, answers that nobody reads. All at once, while others are served. */
import { connect, type Socket } from "node:net";
import { expect } from "vitest";
import { model, type TestPlatform } from "../../kit/index.ts";
import { type Place, speak } from "../support/sockets.ts";

const each = 40;
/** A head may take 10 s, a small body 5 s; Node looks every 2 s. */
const headWithinMs = 16_000;
const bodyWithinMs = 12_000;

export async function fuzzSlowly(sallyport: TestPlatform): Promise<void> {
  const { hostname, port } = new URL(sallyport.platform.endpoints.gatewayHttp);
  const place = { host: hostname, port: Number(port) };
  const authorization = `authorization: Bearer ${sallyport.token("user")}`;
  const post = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${authorization}\r\n`;
  const startedAt = performance.now();
  const heads = repeat(() => trickle(place, "GET /v1/models HTTP/1.1\r\nhost: x\r\n", "x-a: b\r\n", headWithinMs));
  const bodies = repeat(() => trickle(place, `${post}content-length: 1000\r\n\r\n{`, " ", bodyWithinMs));
  const chunks = repeat(() => trickle(place, `${post}transfer-encoding: chunked\r\n\r\n`, "1\r\n \r\n", 30_000));
  const readers = deafReaders(place, post);
  // Whoever asks properly is served meanwhile.
  for (let i = 0; i < 5; i += 1) {
    const body = { model, messages: [{ role: "user", content: "Hello" }], max_tokens: 4 };
    expect((await sallyport.http("/v1/chat/completions", { body })).status).toBe(200);
  }
  const answers = { heads: await heads, bodies: await bodies, chunks: await chunks };
  for (const heard of answers.heads) expect(heard).toMatch(/^HTTP\/1\.1 408 .*request_timeout/s);
  for (const heard of answers.bodies) expect(heard).toMatch(/^HTTP\/1\.1 408 .*body_too_slow/s);
  for (const heard of answers.chunks) expect(heard).toMatch(/^HTTP\/1\.1 408 .*(body_too_slow|request_timeout)/s);
  readers();
  console.info(`fuzz slow callers: ${4 * each} in ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
}

const repeat = <T>(make: () => Promise<T>) => Promise.all(Array.from({ length: each }, make));

/** `start`, then `more` every half second for as long as the server listens. */
async function trickle(place: Place, start: string, more: string, withinMs: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const dribble = (socket: Socket) => {
    timer = setInterval(() => socket.writable && socket.write(more), 500);
  };
  return await speak(place, { pieces: [Buffer.from(start)], ending: dribble }, withinMs).finally(() =>
    clearInterval(timer),
  );
}

/** Streams that are asked for and not read; the result hangs up. */
function deafReaders({ host, port }: Place, post: string): () => void {
  const body = JSON.stringify({
    model,
    stream: true,
    messages: [{ role: "user", content: "Tell me." }],
    max_tokens: 16,
  });
  const sockets = Array.from({ length: 8 }, () => {
    const socket = connect(port, host, () => socket.write(`${post}content-length: ${body.length}\r\n\r\n${body}`));
    socket.on("error", () => {});
    return socket.pause();
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}
