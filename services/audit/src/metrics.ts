import type { Context } from "./context.ts";

/** Prometheus text (version 0.0.4). An unreachable database leaves the numbers out rather than guessing them. */
export async function auditMetrics({ db }: Pick<Context, "db">): Promise<string> {
  const sql = `SELECT (SELECT size FROM head) AS records,
    (SELECT count(*) FROM rejections) AS rejected,
    (SELECT count(*) FROM arrivals WHERE gap_since IS NOT NULL) AS gaps`;
  const { rows } = await db.query<Record<"records" | "rejected" | "gaps", string>>(sql).catch(() => ({ rows: [] }));
  const [found] = rows;
  if (found === undefined) return "";
  return [
    ...gauge("sallyport_audit_log_records", "Records in the log.", found.records),
    ...gauge("sallyport_audit_events_rejected", "Events that could not become records.", found.rejected),
    ...gauge("sallyport_audit_producers_with_gaps", "Producer epochs from which events are missing.", found.gaps),
  ].join("");
}

function gauge(name: string, help: string, value: string): string[] {
  return [`# HELP ${name} ${help}\n`, `# TYPE ${name} gauge\n`, `${name} ${value}\n`];
}
