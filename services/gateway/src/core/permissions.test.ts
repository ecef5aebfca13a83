import { defaultBundleDir, loadBundle, PolicyEngine } from "@sallyport/policy";
import type { CallerIdentity } from "@sallyport/runtime";
import { expect, test } from "vitest";
import type { Context } from "../context.ts";
import { authorise, listModelsFor } from "./permissions.ts";

const policy = PolicyEngine.create(loadBundle(defaultBundleDir));
const models = ["small", "standard", "large", "sensitive"].map((tier) => ({ name: `a-${tier}`, tier }));
const context = { policy: { get: () => policy }, models: { get: () => ({ models }) } } as unknown as Context;
const person = (group: string): CallerIdentity => ({
  ...{ tenant: "acme", subject: "ann", issuer: "https://issuer.example", credential: "c", groups: [group] },
});

test("the list of models has those that the caller may ask, and no other", () => {
  const user = person("sallyport-users");
  const listed = listModelsFor(context, user).map(({ name }) => name);
  expect(listed).toEqual(["a-small", "a-standard"]);
  for (const { name: model, tier } of models) {
    const ask = () => authorise(context, user, "chat", { model, tier });
    if (listed.includes(model)) expect(ask).not.toThrow();
    else expect(ask).toThrow(expect.objectContaining({ reason: "NOT_AUTHORISED" }));
  }
  expect(listModelsFor(context, person("sallyport-operators"))).toHaveLength(4);
  expect(() => listModelsFor(context, person("others"))).toThrow(
    expect.objectContaining({ code: "PERMISSION_DENIED" }),
  );
});
