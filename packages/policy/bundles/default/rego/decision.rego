# The decision of a door. Input: see packages/policy/src/engine/types.ts. Everything that can be tuned is data.config.
package sallyport

import data.config

default decision := {
	"decision": "deny",
	"findings": [{
		"code": "POLICY_INPUT",
		"category": "policy",
		"score": 1,
		"hardStop": false,
		"layer": "policy",
		"action": "deny",
	}],
	"obligations": {"secondReviewer": false, "holdMs": 0, "retention": "standard"},
	"sanitise": {"links": "keep", "linkIndexes": [], "mask": []},
}

# Whatever the input lacks makes this rule undefined, and the default denies.
decision := {
	"decision": outcome_of_rank[strongest],
	"findings": findings,
	"obligations": obligations,
	"sanitise": sanitise,
} if {
	complete
}

# Everything that was seen must have been judged: a gap in the data must not look like "nothing found".
complete if {
	input.stage in config.stages
	is_object(input.facts)
	config.tiers[input.model.tier]
	rank[link_action]
	every hit in input.hits { hit_signal(hit) }
	every score in input.scores { score_signal(score) }
	every link in input.links { is_string(link.host) }
	every fact, limit in config.concealment { is_object(concealment_signal(fact, limit)) }
	rank[config.limits.onTruncated]
}

# Weakest to strongest; the strongest action of any signal is the decision.
rank := {"allow": 0, "mask": 1, "remove": 1, "hold": 2, "deny": 3}

outcome_of_rank := ["allow", "sanitise", "hold", "deny"]

strongest := max({rank[finding.action] | some finding in findings} | {0})

# Hard stops first, then by what they lead to: the first finding is the reason that a caller is told.
findings := [finding |
	some stop in [true, false]
	some strength in [3, 2, 1, 0]
	some finding in finding_set
	finding.hardStop == stop
	rank[finding.action] == strength
]

# One finding for each code, category and layer: its highest score and its strongest action.
finding_set contains finding if {
	some key, group in grouped
	finding := {
		"code": key[0],
		"category": key[1],
		"layer": key[2],
		"score": max({signal.score | some signal in group}),
		"action": strongest_action({signal.action | some signal in group}),
		"hardStop": true in {signal.hardStop | some signal in group},
	}
}

grouped[key] := group if {
	some first in signals
	key := [first.code, first.category, first.layer]
	group := {signal | some signal in signals; [signal.code, signal.category, signal.layer] == key}
}

# An action that nobody knows is a fault in the data, and denies.
strongest_action(actions) := "deny" if {
	some action in actions
	not rank[action]
} else := action if {
	top := max({rank[action] | some action in actions})
	some action in actions
	rank[action] == top
	not rivals(actions, action, top)
}

# "mask" and "remove" are equally strong: the first in alphabetical order names both.
rivals(actions, action, top) if {
	some other in actions
	rank[other] == top
	other < action
}

obligations := {
	"secondReviewer": second_reviewer,
	"holdMs": hold_ms,
	"retention": retention,
}

default second_reviewer := false

second_reviewer if {
	some finding in findings
	finding.action == "hold"
	config.categories[finding.category].secondReviewer
}

# The shortest deadline of what is held.
hold_ms := min({category_hold_ms(finding.category) | some finding in findings; finding.action == "hold"}) if strongest == 2

else := 0

category_hold_ms(category) := object.get(config.categories, [category, "holdMs"], config.limits.holdMs)

retention := config.retention[outcome_of_rank[strongest]]
