/** What those who set the bus up need of its shape, without the rest of the runtime. */
export * from "./bus/permissions.ts";
export * from "./bus/specs.ts";
