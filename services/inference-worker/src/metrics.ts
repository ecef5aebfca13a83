/** Prometheus text: what the worker did, by outcome; no request, tenant or caller in any label. */
export class Metrics {
  readonly #runs = new Map<string, number>();
  #tokens = 0;

  count(outcome: string, tokens: number): void {
    this.#runs.set(outcome, (this.#runs.get(outcome) ?? 0) + 1);
    this.#tokens += tokens;
  }

  text(gauges: { running: number; models: readonly { digest: string; ready: boolean }[] }): string {
    const lines = ["# TYPE sallyport_worker_runs_total counter"];
    for (const [outcome, count] of this.#runs) lines.push(`sallyport_worker_runs_total{outcome="${outcome}"} ${count}`);
    lines.push("# TYPE sallyport_worker_tokens_total counter", `sallyport_worker_tokens_total ${this.#tokens}`);
    lines.push("# TYPE sallyport_worker_running gauge", `sallyport_worker_running ${gauges.running}`);
    lines.push("# TYPE sallyport_worker_engine_ready gauge");
    for (const { digest, ready } of gauges.models) {
      lines.push(`sallyport_worker_engine_ready{model="${digest}"} ${ready ? 1 : 0}`);
    }
    return `${lines.join("\n")}\n`;
  }
}
