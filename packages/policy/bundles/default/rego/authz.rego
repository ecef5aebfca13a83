# Who may do what. Roles are bound to groups, and to actions, models and tiers, in data.config.roles.
package sallyport

import data.config

default authz := {"allow": false, "reason": "POLICY_INPUT"}

authz := {"allow": true, "reason": "OK"} if {
	known_input
	count(refusals) == 0
} else := {"allow": false, "reason": reason} if {
	known_input
	reason := [name | some name in config.refusalOrder; name in refusals][0]
}

known_input if {
	is_string(input.identity.tenant)
	is_string(input.identity.subject)
	input.identity.tenant != ""
	input.identity.subject != ""
	is_array(input.identity.groups)
	is_string(input.action)
	is_object(input.resource)
}

# The roles that the caller's groups give.
held_roles contains name if {
	some name, role in config.roles
	some group in input.identity.groups
	group in role.groups
}

# The grants of those roles for this action.
grants contains grant if {
	some name in held_roles
	grant := config.roles[name].actions[input.action]
}

refusals contains "UNKNOWN_ACTION" if not input.action in config.actions

refusals contains "NO_ROLE" if count(held_roles) == 0

refusals contains "NOT_PERMITTED" if count(grants) == 0

refusals contains "MODEL_NOT_PERMITTED" if {
	count(grants) > 0
	input.resource.model
	not model_granted
}

refusals contains "WRONG_TENANT" if {
	input.resource.tenant
	input.resource.tenant != input.identity.tenant
	not any_tenant
}

# What belongs to every tenant at once: models, policy, the switch for everything.
refusals contains "PLATFORM_ONLY" if {
	input.resource.platform
	not any_tenant
}

refusals contains "NOT_OWNER" if {
	input.resource.ownerSubject
	not own
	count(grants) > 0
	not any_owner
}

# Nobody decides about what is their own: reviews of their requests, approval of what they imported.
refusals contains "OWN_ITEM" if {
	input.action in config.notOnOwn
	own
}

# A subject names somebody at one issuer only; where the resource does not say which, the subject alone counts.
own if {
	input.resource.ownerSubject == input.identity.subject
	not other_issuer
}

other_issuer if {
	input.resource.ownerIssuer
	input.resource.ownerIssuer != object.get(input.identity, "issuer", "")
}

any_tenant if {
	some grant in grants
	grant.tenants == "any"
}

# "platform": for those whose groups make them staff of the platform, and not of one tenant.
any_tenant if {
	some grant in grants
	grant.tenants == "platform"
	some group in input.identity.groups
	group in config.platformGroups
}

any_owner if {
	some grant in grants
	grant.owners == "any"
}

model_granted if {
	some grant in grants
	matches_any(input.resource.model, grant.models)
	object.get(input.resource, "tier", "") in grant.tiers
}

model_granted if {
	some grant in grants
	matches_any(input.resource.model, grant.models)
	not grant.tiers
}

matches_any(_, patterns) if "*" in patterns

matches_any(name, patterns) if name in patterns
