# Links in output: only hosts of the allowlist stay.
package sallyport

import data.config

link_action := config.links.actions[input.stage]

blocked_links contains index if {
	link_action != "allow"
	some index, link in input.links
	not allowed_link(link)
}

allowed_link(link) if {
	link.host != ""
	not disguised(link)
	link.scheme in config.links.schemes
	some pattern in config.links.allow
	host_matches(link.host, pattern)
}

disguised(link) if {
	config.links.refuseObfuscated
	link.obfuscated
}

allowed_link(link) if {
	config.links.allowRelative
	link.scheme == ""
	link.host == ""
}

host_matches(host, pattern) if host == pattern

# "*.example.org" stands for every name below it, not for the name itself.
host_matches(host, pattern) if {
	startswith(pattern, "*.")
	endswith(host, substring(pattern, 1, -1))
}

sanitise := {
	"links": links_action,
	"linkIndexes": [index | some index in blocked_links],
	"mask": [index | some index in masked_hits],
}

links_action := link_action if count(blocked_links) > 0

else := "keep"

masked_hits contains index if {
	some index, hit in input.hits
	category := category_of(hit.category)
	category_action(category, hit.severity) == "mask"
}
