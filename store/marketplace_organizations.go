package store

import (
	"context"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var _ marketplace.OrganizationStore = (*Marketplace)(nil)

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

// organizationEntry is an organization in the audit log.
type organizationEntry struct {
	Name string `json:"name"`
}

// CreateOrganization implements marketplace.OrganizationStore.
func (s *Marketplace) CreateOrganization(ctx context.Context, by audit.Actor, org marketplace.Organization) error {
	return s.db.change(ctx, "create organization "+org.Name, func(tx *gorm.DB) error {
		row := rowFromOrganization(org)
		err := tx.Create(&row).Error
		if uniqueViolated(err) {
			return fault.Newf(fault.Conflict, "organization_taken", "there is already an organization named %s", org.Name)
		}
		if err != nil {
			return err
		}
		if err := ensureAccounts(tx, org.ID); err != nil {
			return err
		}
		return writeAudit(tx, by, org.ID, "organization.create", string(org.ID), nil, organizationEntry{Name: org.Name}, org.CreatedAt)
	})
}

// insertAccount opens an account, unless it is open. Its currency is set with the
// first movement.
const insertAccount = `
INSERT INTO accounts (id, kind, org_id, balance_micros, credit_micros, currency)
VALUES (?, ?, ?, 0, 0, '')
ON CONFLICT (id) DO NOTHING`

// ensureAccounts opens the accounts of an organization.
func ensureAccounts(tx *gorm.DB, org ids.Org) error {
	for _, kind := range []marketplace.AccountKind{
		marketplace.AccountWallet, marketplace.AccountHeld, marketplace.AccountEarnings,
	} {
		if err := tx.Exec(insertAccount, marketplace.AccountOf(kind, org), kind, org).Error; err != nil {
			return err
		}
	}
	return nil
}

// lockOrg takes the lock of an organization, see lockOrganization. One that does
// not exist is fault.NotFound.
func (s *Marketplace) lockOrg(tx *gorm.DB, org ids.Org) error {
	var rows []organizationRow
	if err := tx.Raw(lockOrganization[s.db.dialect], org).Scan(&rows).Error; err != nil {
		return err
	}
	if len(rows) == 0 {
		return notFound("organization", string(org))
	}
	return nil
}

// Organization implements marketplace.OrganizationStore.
func (s *Marketplace) Organization(ctx context.Context, id ids.Org) (marketplace.Organization, error) {
	return s.organization(ctx, "id = ?", string(id))
}

// OrganizationByName implements marketplace.OrganizationStore.
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

// FindOrganizations implements marketplace.OrganizationStore, with one query for
// each of the two.
func (s *Marketplace) FindOrganizations(ctx context.Context, names []string, orgs []ids.Org) ([]marketplace.Organization, error) {
	var found []marketplace.Organization
	for _, by := range []struct {
		condition string
		values    any
		count     int
	}{{"name IN ?", names, len(names)}, {"id IN ?", orgs, len(orgs)}} {
		if by.count == 0 {
			continue
		}
		var rows []organizationRow
		if err := s.db.read.WithContext(ctx).Where(by.condition, by.values).Find(&rows).Error; err != nil {
			return nil, s.db.interpret(err, "find organizations")
		}
		for _, row := range rows {
			found = append(found, organizationFromRow(row))
		}
	}
	return found, nil
}

// Organizations implements marketplace.OrganizationStore.
func (s *Marketplace) Organizations(ctx context.Context, before ids.Org, limit int) ([]marketplace.Organization, error) {
	var rows []organizationRow
	err := s.db.read.WithContext(ctx).Where("id < ?", lastOf(before)).Order("id DESC").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list organizations")
	}
	organizations := make([]marketplace.Organization, len(rows))
	for i, row := range rows {
		organizations[i] = organizationFromRow(row)
	}
	return organizations, nil
}
