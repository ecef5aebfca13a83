/** The dashboards, one file each in panels/; `generate.ts` makes Grafana's JSON of them. */

import { access } from "./panels/access.ts";
import { doors } from "./panels/doors-and-tickets.ts";
import { ledger } from "./panels/ledger-and-log.ts";
import { overview } from "./panels/overview.ts";
import type { Dashboard } from "./panels/panel.ts";
import { queue } from "./panels/queue-and-chamber.ts";
import { use } from "./panels/services.ts";

export const dashboards: readonly Dashboard[] = [overview, doors, queue, ledger, access, use];
