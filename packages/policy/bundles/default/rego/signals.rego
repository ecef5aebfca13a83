# What was seen, each with the action that the data gives it.
package sallyport

import data.config

signals contains hit_signal(hit) if some hit in input.hits

signals contains score_signal(score) if some score in input.scores

signals contains concealment_signal(fact, limit) if {
	some fact, limit in config.concealment
	input.facts[fact] >= limit.from
}

# Links that are not on the allowlist.
signals contains signal if {
	count(blocked_links) > 0
	signal := {
		"code": config.links.code,
		"category": "links",
		"score": 1,
		"layer": "links",
		"action": link_action,
		"hardStop": false,
	}
}

# More was found than is kept: what was cut may have mattered.
signals contains signal if {
	input.facts.truncated
	signal := {
		"code": config.limits.truncatedCode,
		"category": "limits",
		"score": 1,
		"layer": "policy",
		"action": config.limits.onTruncated,
		"hardStop": false,
	}
}

# What a rule matched.
hit_signal(hit) := signal if {
	category := category_of(hit.category)
	wanted := category_action(category, hit.severity)
	capped := cap_by_context(category, hit.contexts, wanted)
	action := raise_by_trust(category, hit.trust, capped)
	signal := make_signal(category, hit.category, hit.severity, "rules", escalate(action))
}

# What a classifier scored.
score_signal(score) := signal if {
	category := category_of(score.category)
	action := category_action(category, score.score)
	signal := make_signal(category, score.category, score.score, score.layer, escalate(action))
}

# Signs of concealment, counted by the normalisation.
concealment_signal(fact, limit) := {
	"code": limit.code,
	"category": "concealment",
	"score": 1,
	"layer": "normalisation",
	"action": limit.actions[input.stage],
	"hardStop": false,
} if {
	is_number(input.facts[fact])
	is_number(limit.from)
}

# A category that the data does not know is treated as the data says for unknown ones.
category_of(name) := object.get(config.categories, name, config.unknownCategory)

make_signal(category, name, score, layer, action) := {
	"code": category.code,
	"category": name,
	"score": score,
	"layer": layer,
	"action": action,
	"hardStop": hard_stop(category, action),
}

hard_stop(category, action) if {
	category.hardStop
	action == "deny"
} else := false

# The strongest action whose threshold the score reaches, at this stage and for this modality.
category_action(category, score) := action if {
	thresholds := thresholds_of(category)
	reached := {name | some name, least in thresholds; score >= least}
	action := strongest_action(reached | {"allow"})
}

thresholds_of(category) := thresholds if {
	thresholds := category.modalities[input.modality][input.stage]
} else := category.thresholds[input.stage]

# An exculpatory context weakens an action to the cap that the category gives for it, the strongest of several.
cap_by_context(category, contexts, action) := weaker(action, cap) if {
	caps := {cap | some context in contexts; cap := category.contextCaps[context]}
	count(caps) > 0
	cap := strongest_action(caps)
} else := action

weaker(a, b) := a if rank[a] <= rank[b]

else := b

# Text that nobody vouches for (documents, tool results) may be judged more strictly, never less.
raise_by_trust(category, trust, action) := strongest_action({action, category.untrusted}) if {
	trust == "untrusted"
	category.untrusted
} else := action

# A stricter model tier turns one action into another ("hold" into "deny").
escalate(action) := object.get(config.tiers, [input.model.tier, "escalate", action], action)
