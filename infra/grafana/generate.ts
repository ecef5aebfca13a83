// Writes Grafana's JSON from panels.ts: `node infra/grafana/generate.ts`. A test checks that what is committed is what this makes.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Dashboard, Panel } from "./panels/panel.ts";
import { dashboards } from "./panels.ts";

const columns = 2;
const width = 24 / columns;
const height = 8;
// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of Grafana.
const datasource = { type: "prometheus", uid: "${datasource}" };

export const dashboardDir = fileURLToPath(new URL("./dashboards/", import.meta.url));

/** Grafana's dashboard model, schema version 39 (Grafana 10 and newer). */
export function toGrafana({ id, title, panels }: Dashboard): string {
  const model = {
    uid: `sallyport-${id}`,
    title,
    tags: ["sallyport"],
    timezone: "utc",
    schemaVersion: 39,
    editable: true,
    graphTooltip: 1,
    refresh: "30s",
    time: { from: "now-1h", to: "now" },
    templating: { list: [{ name: "datasource", type: "datasource", query: "prometheus", label: "Prometheus" }] },
    panels: panels.map(toPanel),
  };
  return `${JSON.stringify(model, null, 2)}\n`;
}

function toPanel({ title, queries, unit, help, kind = "timeseries" }: Panel, position: number) {
  return {
    id: position + 1,
    type: kind,
    title,
    description: help,
    datasource,
    gridPos: { x: (position % columns) * width, y: Math.floor(position / columns) * height, w: width, h: height },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource,
      expr,
      legendFormat: legend,
    })),
  };
}

if (import.meta.main) {
  for (const dashboard of dashboards) writeFileSync(`${dashboardDir}${dashboard.id}.json`, toGrafana(dashboard));
}
