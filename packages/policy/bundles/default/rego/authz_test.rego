package sallyport_test

import data.config
import data.sallyport

answer(groups, action, resource) := result if {
	result := sallyport.authz with input as {
		"identity": {"tenant": "t", "subject": "s", "groups": groups},
		"action": action,
		"resource": resource,
	}
}

test_every_granted_action_is_known if {
	every role in config.roles {
		every action, _ in role.actions { action in config.actions }
	}
}

test_no_identity_no_answer if {
	sallyport.authz.allow == false with input as {}
	sallyport.authz.reason == "POLICY_INPUT" with input as {"action": "chat", "resource": {}}
}

test_roles_add_up if {
	answer(["sallyport-users", "sallyport-reviewers"], "chat", {"model": "m", "tier": "standard"}).allow
	answer(["sallyport-users", "sallyport-reviewers"], "review.list", {}).allow
}

test_nobody_reviews_own if {
	answer(["sallyport-reviewers"], "review.decide", {"ownerSubject": "s"}).reason == "OWN_ITEM"
}

test_tenants_are_apart if {
	answer(["sallyport-reviewers"], "review.list", {"tenant": "other"}).reason == "WRONG_TENANT"
	answer(["sallyport-auditors"], "audit.read", {"tenant": "other"}).allow
}

test_grant_is_data if {
	result := sallyport.authz with input as {
		"identity": {"tenant": "t", "subject": "s", "groups": ["sallyport-users"]},
		"action": "chat",
		"resource": {"model": "m", "tier": "sensitive"},
	}
		with data.config.roles.user.actions.chat.tiers as ["sensitive"]
	result.allow
}
