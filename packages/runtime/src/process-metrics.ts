import { monitorEventLoopDelay } from "node:perf_hooks";

const nanosecondsInSecond = 1e9;

/** Memory, CPU and event-loop delay of this process as Prometheus text. `stop` ends the sampling. */
export function createProcessMetrics(): { text: () => string; stop: () => void } {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const startedAt = Date.now() / 1_000 - process.uptime();
  const text = () => {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    const p99 = delay.count > 0 ? delay.percentile(99) / nanosecondsInSecond : 0;
    delay.reset();
    return [
      metric("process_start_time_seconds", "gauge", "Start, Unix time", startedAt),
      metric("process_cpu_seconds_total", "counter", "CPU time used", (user + system) / 1e6),
      metric("process_resident_memory_bytes", "gauge", "Resident memory", rss),
      metric("nodejs_heap_used_bytes", "gauge", "JavaScript heap in use", heapUsed),
      metric("nodejs_eventloop_delay_p99_seconds", "gauge", "Event-loop delay since the last scrape, p99", p99),
    ].join("");
  };
  return { text, stop: () => delay.disable() };
}

function metric(name: string, type: "gauge" | "counter", help: string, value: number): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`;
}
