import { expect, test } from "vitest";
import { keptGroups } from "./credential.ts";

const token = { groups: ["images", "users"] };

test("a token's successor carries no group that its owner has lost, or that policy has taken back", () => {
  expect(keptGroups(token, ["images", "users"], { groups: ["users", "others"] })).toEqual(["users"]);
  expect(keptGroups(token, ["images"], { groups: ["users", "images"] })).toEqual(["images"]);
  expect(() => keptGroups(token, ["images"], { groups: ["users"] })).toThrow(/none of the token's groups/);
});

test("a service account's is bound by policy alone", () => {
  expect(keptGroups(token, ["images", "users"], undefined)).toEqual(["images", "users"]);
  expect(() => keptGroups(token, [], undefined)).toThrow(/none of the token's groups/);
});
