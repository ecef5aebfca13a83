/** What the audit service has logged, as an auditor of the platform reads it. */
import { AuditService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { createClient, parseAddress } from "@sallyport/runtime";
import type { Platform } from "./platform.ts";

export interface LoggedRecord {
  event: string;
  actor?: { subject: string; tenant: string };
  request?: { id: string };
  detail?: Record<string, unknown>;
}

export async function auditRecords(
  platform: Platform,
  wanted: (record: LoggedRecord) => boolean,
): Promise<LoggedRecord[]> {
  const client = createClient(AuditService, {
    address: parseAddress(platform.auditAddress),
    tls: { ca: platform.postgres.ca.pki.ca },
    serverName: "audit",
  });
  const groups = ["sallyport-auditors", "sallyport-platform"];
  const options = { bearer: platform.token({ subject: "aud", groups }), deadlineMs: 10_000 };
  const records: LoggedRecord[] = [];
  try {
    for await (const { record } of client.tailRecords({ fromIndex: 0n }, options))
      records.push(JSON.parse(Buffer.from(record!.json).toString()));
  } finally {
    client.close();
  }
  return records.filter(wanted);
}
