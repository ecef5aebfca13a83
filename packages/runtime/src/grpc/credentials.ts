/**
 * TLS for both ends, with certificates that may be replaced while they are in use: new connections are made with the new
 * ones, those that are open go on. grpc-js keeps this under `experimental`; it is what its xDS support is built on.
 */
import type { PeerCertificate } from "node:tls";
import { ChannelCredentials, experimental, ServerCredentials } from "@grpc/grpc-js";
import type { ClientTls, TlsMaterial } from "../tls.ts";

type Provider = experimental.CertificateProvider;
type CaListener = experimental.CaCertificateUpdateListener;
type IdentityListener = experimental.IdentityCertificateUpdateListener;
type CheckServer = (name: string, certificate: PeerCertificate) => Error | undefined;

/** Whose certificates callers show: nobody's, must be of `tls.ca`, or may be of this CA (then the handler looks at it). */
export type ClientCertificates = "none" | "required" | Pick<ClientTls, "ca" | "onChange">;

export function serverCredentials(tls: TlsMaterial, clients: ClientCertificates): ServerCredentials {
  if (typeof clients === "object")
    return experimental.createCertificateProviderServerCredentials(providerOf(tls), providerOf(clients), false);
  const mutual = clients === "required";
  if (!tls.onChange) {
    const pair = { cert_chain: tls.cert, private_key: tls.key };
    return ServerCredentials.createSsl(tls.ca, [pair], mutual);
  }
  const provider = providerOf(tls);
  // grpc-js names its two arguments in one order and uses them in the other: this provider is good for both.
  const ca = mutual ? provider : (null as unknown as Provider);
  return experimental.createCertificateProviderServerCredentials(provider, ca, mutual);
}

export function channelCredentials(tls: ClientTls, checkServerIdentity: CheckServer): ChannelCredentials {
  if (!tls.onChange) {
    return ChannelCredentials.createSsl(tls.ca, tls.key ?? null, tls.cert ?? null, { checkServerIdentity });
  }
  const provider = providerOf(tls);
  const identity = tls.cert && tls.key ? provider : null;
  return experimental.createCertificateProviderChannelCredentials(provider, identity, { checkServerIdentity });
}

function providerOf(tls: ClientTls): Provider {
  const authorities = new Set<CaListener>();
  const identities = new Set<IdentityListener>();
  const tellCa = (listener: CaListener) => listener({ caCertificate: tls.ca });
  const tellIdentity = (listener: IdentityListener) =>
    listener(tls.cert && tls.key ? { certificate: tls.cert, privateKey: tls.key } : null);
  tls.onChange?.(() => {
    authorities.forEach(tellCa);
    identities.forEach(tellIdentity);
  });
  // grpc-js begins to watch its credentials only once these have returned.
  const begin = <L>(listeners: Set<L>, listener: L, tell: (listener: L) => void) => {
    listeners.add(listener);
    queueMicrotask(() => listeners.has(listener) && tell(listener));
  };
  return {
    addCaCertificateListener: (listener) => begin(authorities, listener, tellCa),
    removeCaCertificateListener: (listener) => void authorities.delete(listener),
    addIdentityCertificateListener: (listener) => begin(identities, listener, tellIdentity),
    removeIdentityCertificateListener: (listener) => void identities.delete(listener),
  };
}
