/** What a table's list of columns is made into: once for reading, once for writing. */

export function tableOf<Row extends object>(table: string, columns: Readonly<Record<keyof Row & string, string>>) {
  const fields = Object.keys(columns) as (keyof Row & string)[];
  return {
    /** For SELECT and RETURNING. */
    selected: fields.map((field) => `${columns[field]} AS "${field}"`).join(", "),
    /** INSERT and its values, of what `row` has; `as`: columns that are written otherwise, or are not of the row. */
    insertion(row: Partial<Row>, as: Readonly<Record<string, unknown>> = {}): [sql: string, values: unknown[]] {
      const plain = fields.filter((field) => field in row).map((field) => [columns[field], row[field]]);
      const values = { ...Object.fromEntries(plain), ...as };
      const marks = Object.keys(values).map((_, position) => `$${position + 1}`);
      return [`INSERT INTO ${table} (${Object.keys(values)}) VALUES (${marks})`, Object.values(values)];
    },
  };
}
