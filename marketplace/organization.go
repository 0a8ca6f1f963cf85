package marketplace

import (
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// Organization is a tenant: it publishes agents, buys them, or both.
type Organization struct {
	ID        ids.Org
	Name      string // unique; the publisher part of an agent's name
	CreatedAt time.Time
}

// NewOrganization returns an organization with a fresh identifier. The name is
// a DNS label of at most 40 characters; anything else is fault.Invalid.
func NewOrganization(name string, now time.Time) (Organization, error) {
	if !label.MatchString(name) {
		return Organization{}, fault.New(fault.Invalid, "organization_name_invalid",
			"the name of an organization is 1 to 40 lower-case letters, digits and hyphens, not starting or ending with a hyphen").
			WithFields(fault.Field{Pointer: "/name", Message: "is not a DNS label of at most 40 characters"})
	}
	return Organization{ID: ids.New[ids.Org](ids.PrefixOrg), Name: name, CreatedAt: now}, nil
}
