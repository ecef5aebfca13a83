export * from "./checkpoint.ts";
export * from "./cosignature.ts";
export { TlogError, type TlogErrorCode } from "./errors.ts";
export {
  checkKeyName,
  formatVkey,
  type NoteSigner,
  parseVkey,
  type SignatureType,
  signatureType,
  type VerifierKey,
  verifierKey,
  verifierKeyOf,
} from "./keys.ts";
export {
  append,
  emptyFrontier,
  emptyRoot,
  type Frontier,
  frontierAt,
  type Hash,
  type HashReader,
  hashesEqual,
  leafHash,
  type Node,
  nodeHash,
  rootOf,
} from "./merkle.ts";
export { consistencyProof, inclusionProof, verifyConsistency, verifyInclusion } from "./merkle-proof.ts";
export * from "./note.ts";
export * from "./proof.ts";
export * from "./tiles.ts";
