/** In a container, once: `bus FOLDER HOST:PORT` makes streams, consumers and buckets; `database FOLDER HOST:PORT` roles and schemas. */
import { parseAddress } from "@sallyport/runtime/client";
import { homeAt } from "../local/home.ts";
import { Provisioner } from "../local/nats/provisioner.ts";
import { grantSchemas } from "../local/postgres/grants.ts";

const [what, folder = "", address = ""] = process.argv.slice(2);
const { host, port } = parseAddress(address);
const home = homeAt(folder);
if (what === "bus") {
  const provisioner = new Provisioner(home, port, console.log, host);
  try {
    await provisioner.provision();
  } finally {
    await provisioner.close();
  }
} else if (what === "database") {
  await grantSchemas(home, port, host);
} else {
  throw new Error(`say bus or database, not ${what}`);
}
console.log(`${what}: provisioned`);
