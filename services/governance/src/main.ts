import { redacted, runService } from "@sallyport/runtime";
import { readConfig } from "./config.ts";
import { fromConfig } from "./context.ts";
import { startService } from "./service.ts";

await runService({
  name: "governance",
  main: async ({ signal, log }) => {
    const config = readConfig(process.env);
    log.info({ config: redacted(config) }, "configuration");
    return startService(await fromConfig(config, signal, { log }), signal);
  },
});
