import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ModelService } from "@sallyport/proto/sallyport/governance/v1/models";
import { createLogger, type GrpcServer, type Handlers, type ServeOptions, serve } from "../src/index.ts";
import { createTestPki } from "../testing/index.ts";

export const localhost = { host: "127.0.0.1", port: 0 };
export const pki = await createTestPki();
export const gatewayTls = await pki.issue("gateway");

/** Log lines of the servers that this file started. */
export const lines: string[] = [];
export const log = createLogger("gateway", "debug", { write: (line) => void lines.push(line) });

type Generation = Handlers<typeof GenerationService>;
const unused = () => {
  throw new Error("no test calls this");
};

/** A real server over TLS with the given methods of GenerationService (and ModelService.importModel). */
export function startServer(
  methods: Partial<Generation>,
  options: Partial<ServeOptions> & { importModel?: Handlers<typeof ModelService>["importModel"] } = {},
): Promise<GrpcServer> {
  const { importModel = unused, ...serveOptions } = options;
  const generation: Generation = {
    chat: unused,
    getRequest: unused,
    cancelRequest: unused,
    getReceipt: unused,
    listModels: unused,
    moderateTexts: unused,
    ...methods,
  };
  const models: Handlers<typeof ModelService> = {
    importModel,
    approveModel: unused,
    revokeModel: unused,
    listModels: unused,
  };
  return serve(
    [
      { service: GenerationService, handlers: generation },
      { service: ModelService, handlers: models },
    ],
    { address: localhost, tls: gatewayTls, log, ...serveOptions },
  );
}
