export * from "./pki.ts";
export * from "./wait-for.ts";
