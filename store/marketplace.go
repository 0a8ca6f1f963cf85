package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// Marketplace is the store of layer 1.
type Marketplace struct{ db *DB }

var _ marketplace.Store = (*Marketplace)(nil)

type organizationRow struct {
	ID        string
	Name      string
	CreatedAt stamp
}

func (organizationRow) TableName() string { return "organizations" }

func rowFromOrganization(o marketplace.Organization) organizationRow {
	return organizationRow{ID: string(o.ID), Name: o.Name, CreatedAt: at(o.CreatedAt)}
}

func organizationFromRow(r organizationRow) marketplace.Organization {
	return marketplace.Organization{ID: ids.Org(r.ID), Name: r.Name, CreatedAt: r.CreatedAt.t}
}

// CreateOrganization implements marketplace.Store.
func (s *Marketplace) CreateOrganization(ctx context.Context, org marketplace.Organization) error {
	row := rowFromOrganization(org)
	err := s.db.write.WithContext(ctx).Create(&row).Error
	if uniqueViolated(err) {
		return fault.Newf(fault.Conflict, "organization_taken", "there is already an organization named %s", org.Name)
	}
	return s.db.interpret(err, "create organization "+org.Name)
}

// Organization implements marketplace.Store.
func (s *Marketplace) Organization(ctx context.Context, id ids.Org) (marketplace.Organization, error) {
	return s.organization(ctx, "id = ?", string(id))
}

// OrganizationByName implements marketplace.Store.
func (s *Marketplace) OrganizationByName(ctx context.Context, name string) (marketplace.Organization, error) {
	return s.organization(ctx, "name = ?", name)
}

func (s *Marketplace) organization(ctx context.Context, condition, value string) (marketplace.Organization, error) {
	var row organizationRow
	if err := s.db.read.WithContext(ctx).Where(condition, value).Take(&row).Error; err != nil {
		return marketplace.Organization{}, s.db.lookup(err, "organization", value)
	}
	return organizationFromRow(row), nil
}

type apiKeyRow struct {
	ID         string
	OrgID      string
	Name       string
	Prefix     string
	SecretHash []byte
	Scopes     document[[]marketplace.Scope]
	CreatedAt  stamp
	ExpiresAt  stamp
	LastUsedAt stamp
}

func (apiKeyRow) TableName() string { return "api_keys" }

func rowFromAPIKey(k marketplace.APIKey) apiKeyRow {
	return apiKeyRow{
		ID: string(k.ID), OrgID: string(k.OrgID), Name: k.Name, Prefix: k.Prefix,
		SecretHash: slices.Clone(k.SecretHash[:]),
		// Never null: a key without scopes may do nothing.
		Scopes:    documentOf(append([]marketplace.Scope{}, k.Scopes...)),
		CreatedAt: at(k.CreatedAt), ExpiresAt: at(k.ExpiresAt), LastUsedAt: at(k.LastUsedAt),
	}
}

func apiKeyFromRow(r apiKeyRow) (marketplace.APIKey, error) {
	k := marketplace.APIKey{
		ID: ids.Key(r.ID), OrgID: ids.Org(r.OrgID), Name: r.Name, Prefix: r.Prefix, Scopes: *r.Scopes.value,
		CreatedAt: r.CreatedAt.t, ExpiresAt: r.ExpiresAt.t, LastUsedAt: r.LastUsedAt.t,
	}
	if copy(k.SecretHash[:], r.SecretHash) != len(k.SecretHash) {
		return marketplace.APIKey{}, fmt.Errorf("load API key %s: its hash has %d bytes", r.ID, len(r.SecretHash))
	}
	return k, nil
}

// CreateAPIKey implements marketplace.Store.
func (s *Marketplace) CreateAPIKey(ctx context.Context, key marketplace.APIKey) error {
	row := rowFromAPIKey(key)
	err := s.db.write.WithContext(ctx).Create(&row).Error
	if uniqueViolated(err) {
		return fault.New(fault.Conflict, "key_taken", "there is already an API key with this identifier or prefix")
	}
	return s.db.interpret(err, "create API key "+string(key.ID))
}

// APIKeyByPrefix implements marketplace.Store.
func (s *Marketplace) APIKeyByPrefix(ctx context.Context, prefix string) (marketplace.APIKey, error) {
	var row apiKeyRow
	err := s.db.read.WithContext(ctx).Where("prefix = ?", prefix).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return marketplace.APIKey{}, fault.New(fault.NotFound, "key_not_found", "there is no such API key")
	}
	if err != nil {
		return marketplace.APIKey{}, s.db.interpret(err, "load API key")
	}
	return apiKeyFromRow(row)
}

// touchInterval is how exact the last use of an API key is.
const touchInterval = time.Minute

// TouchAPIKey implements marketplace.Store. It reads first: an update that
// matches nothing would still queue behind the writers of SQLite.
func (s *Marketplace) TouchAPIKey(ctx context.Context, id ids.Key, now time.Time) error {
	var row apiKeyRow
	if err := s.db.read.WithContext(ctx).Select("last_used_at").Where("id = ?", id).Take(&row).Error; err != nil {
		return s.db.lookup(err, "key", string(id))
	}
	due := at(now.Add(-touchInterval))
	if last := row.LastUsedAt.t; !last.IsZero() && last.After(due.t) {
		return nil
	}
	err := s.db.write.WithContext(ctx).Model(&apiKeyRow{}).
		Where("id = ? AND (last_used_at IS NULL OR last_used_at <= ?)", id, due).
		Update("last_used_at", at(now)).Error
	return s.db.interpret(err, "touch API key "+string(id))
}

type entitlementRow struct {
	ID        string
	OrgID     string
	AgentID   string
	Source    string
	CreatedAt stamp
	ExpiresAt stamp
	RevokedAt stamp
}

func (entitlementRow) TableName() string { return "entitlements" }

func rowFromEntitlement(e marketplace.Entitlement) entitlementRow {
	return entitlementRow{
		ID: string(e.ID), OrgID: string(e.OrgID), AgentID: string(e.AgentID), Source: string(e.Source),
		CreatedAt: at(e.CreatedAt), ExpiresAt: at(e.ExpiresAt), RevokedAt: at(e.RevokedAt),
	}
}

func entitlementFromRow(r entitlementRow) marketplace.Entitlement {
	return marketplace.Entitlement{
		ID: ids.Entitlement(r.ID), OrgID: ids.Org(r.OrgID), AgentID: ids.Agent(r.AgentID),
		Source:    marketplace.Source(r.Source),
		CreatedAt: r.CreatedAt.t, ExpiresAt: r.ExpiresAt.t, RevokedAt: r.RevokedAt.t,
	}
}

// grant keeps the identifier of the entitlement that is there.
const grant = `
INSERT INTO entitlements (id, org_id, agent_id, source, created_at, expires_at, revoked_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (org_id, agent_id) DO UPDATE SET source = excluded.source,
    created_at = excluded.created_at, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at`

// Grant implements marketplace.Store.
func (s *Marketplace) Grant(ctx context.Context, e marketplace.Entitlement) error {
	row := rowFromEntitlement(e)
	err := s.db.write.WithContext(ctx).Exec(grant, row.ID, row.OrgID, row.AgentID, row.Source,
		row.CreatedAt, row.ExpiresAt, row.RevokedAt).Error
	return s.db.interpret(err, fmt.Sprintf("grant agent %s to organization %s", e.AgentID, e.OrgID))
}

// EntitlementFor implements marketplace.Store.
func (s *Marketplace) EntitlementFor(ctx context.Context, org ids.Org, agent ids.Agent) (marketplace.Entitlement, error) {
	var row entitlementRow
	err := s.db.read.WithContext(ctx).Where("org_id = ? AND agent_id = ?", org, agent).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return marketplace.Entitlement{}, fault.New(fault.NotFound, "entitlement_not_found",
			"the organization has no entitlement for the agent")
	}
	if err != nil {
		return marketplace.Entitlement{}, s.db.interpret(err, "load entitlement of organization "+string(org))
	}
	return entitlementFromRow(row), nil
}
