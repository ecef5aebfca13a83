import { type Dashboard, panel, rate } from "./panel.ts";

export const access: Dashboard = {
  id: "access",
  title: "Sallyport: limits, switches, credentials",
  panels: [
    panel("Quotas", "reqps", "Calls that asked for their share, by the answer.", [
      rate("sallyport_quota_checks_total", "result"),
      "{{result}}",
    ]),
    panel("Turned away", "reqps", "By limits, switches and revocations.", [
      rate(
        "sallyport_http_requests_total",
        "reason",
        '{reason=~"RATE_LIMITED|QUOTA_EXHAUSTED|CONCURRENCY_LIMIT|OVERLOADED|PAUSED|BANNED|CREDENTIAL_REVOKED"}',
      ),
      "{{reason}}",
    ]),
    panel("Stopped at work", "reqps", "Requests that a switch ended.", [
      rate("sallyport_requests_ended_total", "code", '{state="cancelled"}'),
      "{{code}}",
    ]),
    panel("Not let in", "reqps", "Tokens and certificates that were refused.", [
      rate("sallyport_http_requests_total", "component, reason", '{status=~"401|403"}'),
      "{{component}} {{reason}}",
    ]),
    panel("Certificates", "s", "Time left.", [
      "min by (component) (sallyport_certificate_expiry_timestamp_seconds) - time()",
      "{{component}}",
    ]),
    panel("Trust bundle", "s", "Time left.", [
      "min by (component) (sallyport_trust_bundle_expiry_timestamp_seconds) - time()",
      "{{component}}",
    ]),
    panel("Files in use", "s", "Age of what each service has loaded; a rotation makes it young.", [
      "time() - max by (component, what) (sallyport_files_loaded_timestamp_seconds)",
      "{{component}} {{what}}",
    ]),
    panel("Vault keys under the former master key", "short", "Falls to 0 after a rotation.", [
      "max(sallyport_vault_keys_under_former_master_key)",
      "keys",
    ]),
  ],
};
