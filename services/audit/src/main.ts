import { redacted, runService } from "@sallyport/runtime";
import { readConfig } from "./config.ts";
import { fromConfig } from "./context.ts";
import { startService } from "./service.ts";

await runService({
  name: "audit",
  main: async ({ signal, log, trace }) => {
    const config = readConfig(process.env);
    log.info({ config: redacted(config) }, "configuration");
    await trace(config.tracing);
    return startService(await fromConfig(config, signal, { log }), signal);
  },
});
