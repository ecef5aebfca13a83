/** What can be rotated; apart from its doing, so that naming it loads nothing. */
export const rotationNames = ["certificates", "authority", "bus", "signing", "encryption", "vault"] as const;
export type Rotation = (typeof rotationNames)[number];
