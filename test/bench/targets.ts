/** The same question to the model server itself, through the peer, and through the platform. */
import type { Platform } from "@sallyport/infra/platform";
import type { Target } from "./load-process.ts";
import { benchModel } from "./platform.ts";
import { baseline, type Targets } from "./rounds.ts";

const path = "/v1/chat/completions";

function body(model: string, stream: boolean): string {
  const messages = [
    { role: "system", content: "You answer briefly and plainly." },
    { role: "user", content: "Tell me what bread is made of, and what one does with it before it is eaten." },
  ];
  return JSON.stringify({ model, messages, temperature: 0, max_tokens: 512, stream });
}

export function targetsOf(modelServer: string, peer: string | undefined, platform: Platform, stream: boolean): Targets {
  const json = { "content-type": "application/json" };
  const ask = body(benchModel, stream);
  const direct = { origin: modelServer, path, headers: json, body: ask };
  return {
    [baseline]: () => direct,
    ...(peer && { portkey: () => ({ ...direct, origin: peer, headers: { ...json, ...peerHeaders(modelServer) } }) }),
    sallyport: () => sallyport(platform, ask),
  };
}

export function sallyport(platform: Platform, ask = body(benchModel, false)): Target {
  const authorization = `Bearer ${platform.token("user")}`;
  const { origin } = new URL(platform.endpoints.gatewayHttp);
  return { origin, path, headers: { "content-type": "application/json", authorization }, body: ask };
}

function peerHeaders(modelServer: string) {
  const host = { "x-portkey-provider": "openai", "x-portkey-custom-host": `${modelServer}/v1` };
  return { ...host, authorization: "Bearer unused" };
}
