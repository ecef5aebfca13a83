/** The client library, set up as the command was told. */
import { createClient, type SallyportClient, type TrustSource } from "@sallyport/client";
import type { Context } from "./context.ts";

export interface GatewayClient extends Disposable {
  readonly client: SallyportClient;
  /** For its calls. */
  readonly call: { timeoutMs: number; signal: AbortSignal | undefined };
}

/** Calls as --as or `caller`; the server must hold the gateway's certificate before it gets a token. */
export function gatewayClient(context: Context, caller: string, verify: TrustSource | "off"): GatewayClient {
  const { bearer, deadlineMs, signal } = context.options(caller);
  const { gatewayGrpc: address, ca } = context.endpoints();
  const tls = { ca: context.file(ca), serverId: "spiffe://sallyport.local/gateway" };
  const client = createClient({ address, token: bearer, tls, verify, timeoutMs: deadlineMs });
  return { client, call: { timeoutMs: deadlineMs, signal }, [Symbol.dispose]: () => client.close() };
}
