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
	answer(["sallyport-auditors"], "audit.read", {"tenant": "other"}).reason == "WRONG_TENANT"
	answer(["sallyport-auditors"], "audit.read", {"tenant": "t"}).allow
}

test_platform_group_widens_roles_and_gives_none if {
	answer(["sallyport-auditors", "sallyport-platform"], "audit.read", {"tenant": "other"}).allow
	answer(["sallyport-platform"], "audit.read", {"tenant": "t"}).reason == "NO_ROLE"
	answer(["sallyport-users", "sallyport-platform"], "request.read", {"tenant": "other"}).reason == "WRONG_TENANT"
}

test_platform_resources_are_for_platform_staff if {
	answer(["sallyport-operators"], "model.revoke", {"model": "m", "platform": true}).reason == "PLATFORM_ONLY"
	answer(["sallyport-operators", "sallyport-platform"], "model.revoke", {"model": "m", "platform": true}).allow
}

test_a_subject_of_another_issuer_is_another_person if {
	identity := {"tenant": "t", "subject": "s", "issuer": "https://one", "groups": ["sallyport-users"]}
	resource := {"tenant": "t", "ownerSubject": "s", "ownerIssuer": "https://two"}
	result := sallyport.authz with input as {"identity": identity, "action": "token.revoke", "resource": resource}
	result.reason == "NOT_OWNER"
	same := sallyport.authz with input as {
		"identity": identity,
		"action": "token.revoke",
		"resource": object.union(resource, {"ownerIssuer": "https://one"}),
	}
	same.allow
}

# What an API token may carry must not make its holder anything but a user.
test_no_office_is_grantable if {
	every role in ["reviewer", "operator", "auditor"] {
		every group in config.roles[role].groups { not group in config.credentials.grantable }
	}
	every group in config.platformGroups { not group in config.credentials.grantable }
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
