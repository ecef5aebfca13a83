/** A real OpenTelemetry collector with the configuration that we ship; only its two addresses are the test's. */
import { freePort } from "@sallyport/runtime/testing";
import { collectorConfig } from "../../infra/local/otel-collector/find.ts";
import { startProgram } from "./program.ts";

export interface OtelCollector extends AsyncDisposable {
  /** What OTEL_EXPORTER_OTLP_ENDPOINT is set to. */
  readonly url: string;
  /** Warnings and errors that it logged. */
  complaints(): string[];
}

/** `store`: where it hands traces on to, in the place of the configuration's Tempo. */
export async function startOtelCollector(program: string, store: string): Promise<OtelCollector> {
  const address = `127.0.0.1:${await freePort()}`;
  const args = [
    `--config=${collectorConfig}`,
    `--set=receivers.otlp.protocols.http.endpoint=${address}`,
    `--set=exporters.otlp_http.endpoint=${store}`,
  ];
  const running = await startProgram(program, args, async () => (await fetch(`http://${address}`)).status < 500);
  return {
    url: `http://${address}`,
    complaints: () =>
      running
        .said()
        .split("\n")
        .filter((line) => /\t(warn|error|fatal)\t/.test(line)),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
