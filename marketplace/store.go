package marketplace

import (
	"context"
	"time"

	"agentmarket/ids"
)

// Store keeps the objects of the marketplace. Implementations prove themselves
// with internal/storetest. "Not found" is fault.NotFound, a name or prefix that
// is taken is fault.Conflict, a database that cannot answer is
// fault.Unavailable; everything else is an unclassified error.
type Store interface {
	// CreateOrganization stores an organization; a taken name is fault.Conflict.
	CreateOrganization(ctx context.Context, org Organization) error
	// Organization finds an organization by identifier.
	Organization(ctx context.Context, id ids.Org) (Organization, error)
	// OrganizationByName finds an organization by its unique name.
	OrganizationByName(ctx context.Context, name string) (Organization, error)

	// CreateAPIKey stores a key of an existing organization.
	CreateAPIKey(ctx context.Context, key APIKey) error
	// APIKeyByPrefix finds a key by the public part of its token.
	APIKeyByPrefix(ctx context.Context, prefix string) (APIKey, error)
	// TouchAPIKey records a use. It writes at most once a minute and key, so
	// that authentication stays a read.
	TouchAPIKey(ctx context.Context, id ids.Key, at time.Time) error

	// Grant stores an entitlement, or replaces the one that the organization
	// has for the agent (its identifier stays).
	Grant(ctx context.Context, e Entitlement) error
	// EntitlementFor finds the entitlement of an organization for an agent,
	// expired and revoked ones too; the caller decides with Check.
	EntitlementFor(ctx context.Context, org ids.Org, agent ids.Agent) (Entitlement, error)
}
