export {
  type DatabaseOptions,
  type Db,
  openDatabase,
  parseDatabaseUrl,
  type Queryable,
  type QueryResult,
  type TransactionOptions,
  type Tx,
} from "./database.ts";
export { migrate } from "./migrate.ts";
export { type CommitLimits, type Committed, commitLimits, type Operation } from "./operation.ts";
export { createOutbox, type Outbox, type OutboxOptions } from "./outbox.ts";
export type {
  AuditBuild,
  AuditMessage,
  AuditPlace,
  AuditPlaces,
  BusMessage,
  OutboxMessage,
} from "./outbox-messages.ts";
