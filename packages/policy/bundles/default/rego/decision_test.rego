package sallyport_test

import data.config
import data.sallyport

facts := {
	"length": 1, "parts": 1, "truncated": false, "invisible": 0, "bidi": 0, "tags": 0, "marks": 0,
	"lookalikes": false, "spacedOut": false,
}

request := {
	"stage": "door1", "modality": "text", "operation": "chat",
	"identity": {"tenant": "t", "subject": "s", "groups": []},
	"model": {"name": "m", "tier": "standard"},
	"hits": [], "links": [], "scores": [], "facts": facts,
}

hit(category, severity) := {
	"ruleId": "r", "category": category, "severity": severity, "view": "folded", "contexts": [], "trust": "caller",
}

link(host) := {"kind": "url", "scheme": "https", "host": host, "image": false, "obfuscated": false}

judged(patch) := result if {
	result := sallyport.decision with input as object.union(request, patch)
}

test_nothing_found_is_allowed if judged({}).decision == "allow"

test_strongest_action_wins if {
	judged({"hits": [hit("test_review", 1), hit("test_block", 1)]}).decision == "deny"
}

test_hard_stop_is_marked if {
	some finding in judged({"hits": [hit("test_hard_stop", 1)]}).findings
	finding.hardStop
}

test_first_finding_is_the_reason if {
	result := judged({"hits": [hit("sexual", 0.5), hit("test_review", 1), hit("weapons", 0.9), hit("test_hard_stop", 1)]})
	[finding.code | some finding in result.findings] == ["TEST_HARD_STOP", "WEAPONS", "TEST_REVIEW", "SEXUAL_EXPLICIT"]
}

test_unknown_category_denies if {
	judged({"hits": [hit("nobody_knows", 0.1)]}).findings[0].code == config.unknownCategory.code
	judged({"hits": [hit("nobody_knows", 0.1)]}).decision == "deny"
}

test_malformed_input_denies if {
	judged({"hits": "none"}).decision == "deny"
	judged({"links": 1}).decision == "deny"
	judged({"stage": "door3"}).decision == "deny"
	judged({"facts": "none"}).decision == "deny"
	judged({"model": {"tier": "nowhere"}}).decision == "deny"
	sallyport.decision.decision == "deny" with input as {}
}

test_missing_fact_denies if {
	result := sallyport.decision with input as object.remove(request, ["facts"])
	result.decision == "deny"
	partial := sallyport.decision with input as json.remove(request, ["facts/tags"])
	partial.decision == "deny"
}

test_hit_without_severity_denies if {
	judged({"hits": [{"category": "hate"}]}).decision == "deny"
}

test_unknown_action_in_data_denies if {
	result := sallyport.decision with input as object.union(request, {"hits": [hit("hate", 0.9)]})
		with data.config.categories.hate.thresholds.door1 as {"explode": 0.5}
	result.decision == "deny"
}

test_missing_thresholds_deny if {
	result := sallyport.decision with input as object.union(request, {"hits": [hit("hate", 0.9)]})
		with data.config.categories.hate as {"code": "HATE"}
	result.decision == "deny"
}

test_score_below_every_threshold_is_recorded_and_allowed if {
	result := judged({"hits": [hit("hate", 0.1)]})
	result.decision == "allow"
	count(result.findings) == 1
}

test_context_caps if {
	protected := object.union(hit("weapons", 0.9), {"contexts": ["ctx.protection"]})
	judged({"hits": [protected]}).decision == "hold"
	judged({"hits": [protected, hit("weapons", 0.9)]}).decision == "deny"
}

test_untrusted_text_is_judged_more_strictly if {
	quoted := object.union(hit("prompt_injection", 0.6), {"trust": "untrusted"})
	judged({"hits": [hit("prompt_injection", 0.6)]}).decision == "hold"
	judged({"hits": [quoted]}).decision == "deny"
}

test_sensitive_tier_denies_what_others_hold if {
	judged({"hits": [hit("test_review", 1)], "model": {"tier": "sensitive"}}).decision == "deny"
}

test_classifier_scores_count if {
	judged({"scores": [{"category": "hate", "score": 0.85, "layer": "classifier"}]}).decision == "deny"
}

test_held_items_carry_a_deadline if {
	judged({"hits": [hit("self_harm", 0.9)]}).obligations.holdMs == config.categories.self_harm.holdMs
	judged({"hits": [hit("test_review", 1)]}).obligations.holdMs == config.limits.holdMs
	judged({}).obligations.holdMs == 0
}

test_second_reviewer if {
	judged({"hits": [hit("ncii", 0.6)]}).obligations.secondReviewer
	not judged({"hits": [hit("self_harm", 0.9)]}).obligations.secondReviewer
}

test_truncation_is_held if judged({"facts": object.union(facts, {"truncated": true})}).decision == "hold"

test_links_are_for_door_2 if {
	judged({"links": [link("evil.example")]}).decision == "allow"
	judged({"stage": "door2", "links": [link("evil.example")]}).decision == "sanitise"
	judged({"stage": "door2", "links": [link("docs.sallyport.example")]}).decision == "allow"
}

test_wildcard_hosts if {
	sallyport.host_matches("a.b.example", "*.b.example")
	not sallyport.host_matches("b.example", "*.b.example")
	not sallyport.host_matches("ab.example", "*.b.example")
	not sallyport.host_matches("a.b.example.evil", "*.b.example")
}

test_obfuscated_link_to_an_allowed_host_is_removed if {
	disguised := object.union(link("docs.sallyport.example"), {"obfuscated": true})
	judged({"stage": "door2", "links": [disguised]}).sanitise.linkIndexes == [0]
}

test_link_action_is_data if {
	held := sallyport.decision with input as object.union(request, {"stage": "door2", "links": [link("evil.example")]})
		with data.config.links.actions.door2 as "hold"
	held.decision == "hold"
}

test_missing_link_action_denies if {
	result := sallyport.decision with input as object.union(request, {"stage": "door2"})
		with data.config.links.actions as {}
	result.decision == "deny"
}

test_mask_names_only_masked_hits if {
	result := judged({"hits": [hit("hate", 0.1), hit("credentials", 0.9)]})
	result.decision == "sanitise"
	result.sanitise.mask == [1]
}

test_every_code_is_documented if {
	codes := ({category.code | some category in config.categories} | {
		config.links.code,
		config.limits.truncatedCode,
		config.unknownCategory.code,
		"POLICY_INPUT",
	}) | {limit.code | some limit in config.concealment}
	every code in codes { config.codes[code].whatToDo }
}
