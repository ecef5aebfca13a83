import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dashboardDir, toGrafana } from "./generate.ts";
import { dashboards } from "./panels.ts";

test("the dashboards that operators import are those that panels.ts describes", () => {
  expect(readdirSync(dashboardDir).sort()).toEqual(dashboards.map(({ id }) => `${id}.json`).sort());
  for (const dashboard of dashboards) {
    const committed = readFileSync(join(dashboardDir, `${dashboard.id}.json`), "utf8");
    expect(committed, `${dashboard.id}: run node infra/grafana/generate.ts`).toBe(toGrafana(dashboard));
  }
});

test("every panel says what it tells and asks for something", () => {
  for (const { id, panels } of dashboards) {
    expect(new Set(panels.map(({ title }) => title)).size, id).toBe(panels.length);
    for (const { help, queries } of panels) {
      expect(help).toMatch(/\w.*\.$/);
      expect(queries.length).toBeGreaterThan(0);
    }
  }
});
