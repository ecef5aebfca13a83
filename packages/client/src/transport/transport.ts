/** What both transports do: carry the platform's messages, and turn every failure into a SallyportError. */
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type {
  ChatContent,
  GetRequestResponse,
  Outcome,
  Window,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import type { ChatRequest, ModelInfo, Moderation } from "../types.ts";

export interface Call {
  /** Access token; undefined where a client certificate says who calls. */
  bearer: string | undefined;
  /** Aborts with a TimeoutError at the deadline, with anything else when the caller gave up. */
  signal: AbortSignal;
  /** Unix time in milliseconds. */
  deadlineAt: number;
}

export interface ChatCall {
  request: ChatRequest;
  content: ChatContent;
  /** Empty: none. */
  idempotencyKey: string;
}

export type ChatEvent = { accepted: string } | { window: Window } | { outcome: Outcome };

export interface Receipt {
  /** The leaf: canonical JSON (RFC 8785), byte for byte. */
  record: Uint8Array;
  /** c2sp.org/tlog-proof. */
  proof: string;
}

export interface Transport {
  /** Accepted (its request id), released windows, outcome. Throws what else the request ended with. */
  chat(chat: ChatCall, call: Call): AsyncIterable<ChatEvent>;
  getRequest(requestId: string, call: Call): Promise<GetRequestResponse>;
  cancelRequest(requestId: string, call: Call): Promise<Outcome | undefined>;
  getReceipt(requestId: string, call: Call): Promise<Receipt>;
  listModels(call: Call): Promise<ModelInfo[]>;
  moderate(texts: readonly string[], modality: "text" | "image_prompt", call: Call): Promise<Moderation>;
  close(): void;
}

export interface Tls {
  ca: Buffer | undefined;
  cert: Buffer | undefined;
  key: Buffer | undefined;
  /** URI in the server's certificate; undefined: its host name counts. */
  serverId: string | undefined;
}

/** As node:tls wants it: undefined when the certificate is the server's that was meant. */
export function checkServer(
  host: string,
  serverId: string | undefined,
  certificate: PeerCertificate,
): Error | undefined {
  if (serverId === undefined) return checkServerIdentity(host, certificate);
  const names = certificate.subjectaltname?.split(", ") ?? [];
  return names.includes(`URI:${serverId}`) ? undefined : new Error(`the server is not ${serverId}`);
}
