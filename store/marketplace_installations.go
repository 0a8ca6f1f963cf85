package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var _ marketplace.InstallationStore = (*Marketplace)(nil)

type installationRow struct {
	OrgID       string `gorm:"primaryKey"`
	AgentID     string `gorm:"primaryKey"`
	Channel     string
	VersionID   string
	Version     string
	Consented   document[permissionTerms]
	ConsentedAt stamp
	ConsentedBy string
	CreatedAt   stamp
	UpdatedAt   stamp
}

func (installationRow) TableName() string { return "installations" }

// installationColumns are the columns of an installationRow, in its order, for
// statements in SQL text.
const installationColumns = `org_id, agent_id, channel, version_id, version,
consented, consented_at, consented_by, created_at, updated_at`

// permissionTerms is what an organization has consented to.
type permissionTerms struct {
	Tools       []string `json:"tools,omitempty"`
	Models      []string `json:"models,omitempty"`
	Secrets     []string `json:"secrets,omitempty"`
	SecretFiles []string `json:"secret_files,omitempty"`
	Egress      []string `json:"egress,omitempty"`
	CPUMillis   int64    `json:"cpu_millis,omitempty"`
	MemoryMiB   int64    `json:"memory_mib,omitempty"`
	DiskMiB     int64    `json:"disk_mib,omitempty"`
	RunSeconds  int64    `json:"run_seconds,omitempty"`
}

func rowFromInstallation(i marketplace.Installation) installationRow {
	return installationRow{
		OrgID: string(i.OrgID), AgentID: string(i.AgentID), Channel: i.Channel,
		VersionID: string(i.VersionID), Version: i.Version,
		Consented: documentOf(permissionTerms(i.Consented)), ConsentedAt: at(i.ConsentedAt), ConsentedBy: i.ConsentedBy,
		CreatedAt: at(i.CreatedAt), UpdatedAt: at(i.UpdatedAt),
	}
}

func installationFromRow(r installationRow) marketplace.Installation {
	i := marketplace.Installation{
		OrgID: ids.Org(r.OrgID), AgentID: ids.Agent(r.AgentID), Channel: r.Channel,
		VersionID: ids.Version(r.VersionID), Version: r.Version,
		ConsentedAt: r.ConsentedAt.t, ConsentedBy: r.ConsentedBy,
		CreatedAt: r.CreatedAt.t, UpdatedAt: r.UpdatedAt.t,
	}
	if r.Consented.value != nil {
		i.Consented = product.Permissions(*r.Consented.value)
	}
	return i
}

// installationEntry is an installation in the audit log.
type installationEntry struct {
	Channel     string          `json:"channel,omitempty"`
	Version     string          `json:"version,omitempty"`
	Consented   permissionTerms `json:"consented"`
	ConsentedBy string          `json:"consented_by,omitempty"`
}

func (r installationRow) entry() installationEntry {
	return installationEntry{r.Channel, r.Version, *r.Consented.value, r.ConsentedBy}
}

// Installation implements marketplace.InstallationStore.
func (s *Marketplace) Installation(ctx context.Context, org ids.Org, agent ids.Agent) (marketplace.Installation, error) {
	var row installationRow
	if err := s.db.read.WithContext(ctx).Where("org_id = ? AND agent_id = ?", org, agent).Take(&row).Error; err != nil {
		return marketplace.Installation{}, s.db.lookup(err, "installation", "of agent "+string(agent))
	}
	return installationFromRow(row), nil
}

// insertInstallation makes sure that there is a row to lock. A rival's insert
// that is not committed yet makes PostgreSQL wait for its end.
const insertInstallation = `
INSERT INTO installations (` + installationColumns + `)
VALUES ?
ON CONFLICT (org_id, agent_id) DO NOTHING`

const selectInstallation = `SELECT ` + installationColumns + ` FROM installations WHERE org_id = ? AND agent_id = ?`

// UpdateInstallation implements marketplace.InstallationStore.
func (s *Marketplace) UpdateInstallation(ctx context.Context, by audit.Actor, org ids.Org, agent ids.Agent, now time.Time,
	change func(*marketplace.Installation) error,
) (marketplace.Installation, error) {
	var updated marketplace.Installation
	doing := fmt.Sprintf("update installation of agent %s in organization %s", agent, org)
	err := s.db.change(ctx, doing, func(tx *gorm.DB) error {
		before, inserted, err := s.lockInstallation(tx, org, agent, now)
		if err != nil {
			return err
		}
		i := installationFromRow(before)
		if err := change(&i); err != nil {
			return refuse(err)
		}
		after := rowFromInstallation(i)
		after.OrgID, after.AgentID, after.CreatedAt = before.OrgID, before.AgentID, before.CreatedAt
		updated = installationFromRow(after)
		same := reflect.DeepEqual(before, after)
		if same && !inserted {
			return nil
		}
		if !same {
			if err := tx.Select("*").Omit("org_id", "agent_id", "created_at").Updates(&after).Error; err != nil {
				return err
			}
		}
		return writeAudit(tx, by, org, "installation.update", string(agent), before.entryUnless(inserted), after.entry(), now)
	})
	if err != nil {
		return marketplace.Installation{}, err
	}
	return updated, nil
}

// entryUnless is nil for a row that was not there before.
func (r installationRow) entryUnless(inserted bool) any {
	if inserted {
		return nil
	}
	return r.entry()
}

// lockInstallation loads and locks an installation. One that is not there yet is
// inserted, so that of two who change it first one waits for the other.
func (s *Marketplace) lockInstallation(tx *gorm.DB, org ids.Org, agent ids.Agent, now time.Time) (row installationRow, inserted bool, err error) {
	statement := selectInstallation + forUpdate[s.db.dialect]
	if err = tx.Raw(statement, org, agent).Take(&row).Error; !errors.Is(err, gorm.ErrRecordNotFound) {
		return row, false, err
	}
	row = rowFromInstallation(marketplace.NewInstallation(org, agent, now))
	insert := tx.Exec(insertInstallation, []any{
		row.OrgID, row.AgentID, row.Channel, row.VersionID, row.Version,
		row.Consented, row.ConsentedAt, row.ConsentedBy, row.CreatedAt, row.UpdatedAt,
	})
	if insert.Error != nil || insert.RowsAffected > 0 {
		return row, true, insert.Error
	}
	row = installationRow{}
	err = tx.Raw(statement, org, agent).Take(&row).Error
	return row, false, err
}

// Installations implements marketplace.InstallationStore.
func (s *Marketplace) Installations(ctx context.Context, org ids.Org, before ids.Agent, limit int) ([]marketplace.Installation, error) {
	var rows []installationRow
	err := s.db.read.WithContext(ctx).Where("org_id = ? AND agent_id < ?", org, lastOf(before)).
		Order("agent_id DESC").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list installations of organization "+string(org))
	}
	list := make([]marketplace.Installation, len(rows))
	for i, row := range rows {
		list[i] = installationFromRow(row)
	}
	return list, nil
}
