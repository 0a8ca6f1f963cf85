package store

import (
	"context"
	"errors"
	"net/url"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.ToolServerStore = (*Product)(nil)

// toolServerRow is a server of tools. Of its credential there is the name.
type toolServerRow struct {
	OrgID        string `gorm:"primaryKey"`
	Name         string `gorm:"primaryKey"`
	URL          string
	Header       string
	Secret       string
	TimeoutNS    int64 `gorm:"column:timeout_ns"`
	MaxBytes     int64
	ApproveTools document[[]string]
	Disabled     bool
	UpdatedBy    string
	UpdatedAt    stamp
}

func (toolServerRow) TableName() string { return "tool_servers" }

func rowFromToolServer(s product.ToolServer) toolServerRow {
	return toolServerRow{
		OrgID: string(s.OrgID), Name: s.Name, URL: s.URL, Header: s.Header, Secret: s.Secret,
		TimeoutNS: int64(s.Timeout), MaxBytes: s.MaxBytes, ApproveTools: documentOf(append([]string{}, s.ApproveTools...)),
		Disabled: s.Disabled, UpdatedBy: s.UpdatedBy, UpdatedAt: at(s.UpdatedAt),
	}
}

func toolServerFromRow(r toolServerRow) product.ToolServer {
	s := product.ToolServer{
		OrgID: ids.Org(r.OrgID), Name: r.Name, URL: r.URL, Header: r.Header, Secret: r.Secret,
		Timeout: time.Duration(r.TimeoutNS), MaxBytes: r.MaxBytes, Disabled: r.Disabled,
		UpdatedBy: r.UpdatedBy, UpdatedAt: r.UpdatedAt.t,
	}
	if r.ApproveTools.value != nil && len(*r.ApproveTools.value) > 0 {
		s.ApproveTools = *r.ApproveTools.value
	}
	return s
}

// toolServerEntry is a server in the audit log. Of its address only the host: the path may
// be a credential.
type toolServerEntry struct {
	Host         string   `json:"host"`
	Header       string   `json:"header,omitempty"`
	Secret       string   `json:"secret,omitempty"`
	TimeoutNS    int64    `json:"timeout_ns"`
	MaxBytes     int64    `json:"max_bytes"`
	ApproveTools []string `json:"approve_tools"`
	Disabled     bool     `json:"disabled,omitempty"`
}

func (r toolServerRow) entry() toolServerEntry {
	entry := toolServerEntry{
		Header: r.Header, Secret: r.Secret, TimeoutNS: r.TimeoutNS, MaxBytes: r.MaxBytes, ApproveTools: *r.ApproveTools.value, Disabled: r.Disabled,
	}
	if u, err := url.Parse(r.URL); err == nil {
		entry.Host = u.Host
	}
	return entry
}

func (r toolServerRow) subject() string { return "tool_server:" + r.Name }

const toolServerColumns = `org_id, name, url, header, secret, timeout_ns, max_bytes, approve_tools, disabled, updated_by, updated_at`

const selectToolServer = `SELECT ` + toolServerColumns + ` FROM tool_servers WHERE org_id = ? AND name = ?`

func (s *Product) lockToolServer(tx *gorm.DB, org ids.Org, name string) (row toolServerRow, found bool, err error) {
	err = tx.Raw(selectToolServer+forUpdate[s.db.dialect], org, name).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, false, nil
	}
	return row, err == nil, err
}

// SetToolServer implements product.ToolServerStore.
func (s *Product) SetToolServer(ctx context.Context, by audit.Actor, server product.ToolServer) error {
	row := rowFromToolServer(server)
	return s.db.change(ctx, "set server of tools "+row.Name, func(tx *gorm.DB) error {
		if err := s.db.lockName(tx, "tool_servers:"+row.OrgID); err != nil {
			return err
		}
		before, found, err := s.lockToolServer(tx, server.OrgID, server.Name)
		if err != nil {
			return err
		}
		if found {
			if err := tx.Select("*").Updates(&row).Error; err != nil {
				return err
			}
			return writeAudit(tx, by, server.OrgID, "tool_server.set", row.subject(), before.entry(), row.entry(), server.UpdatedAt)
		}
		var servers int64
		if err := tx.Model(&toolServerRow{}).Where("org_id = ?", row.OrgID).Count(&servers).Error; err != nil {
			return err
		}
		if servers >= product.MaxToolServers {
			return fault.Newf(fault.Conflict, "too_many", "there are %d servers of tools, and may not be more", product.MaxToolServers)
		}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, server.OrgID, "tool_server.set", row.subject(), nil, row.entry(), server.UpdatedAt)
	})
}

// DeleteToolServer implements product.ToolServerStore.
func (s *Product) DeleteToolServer(ctx context.Context, by audit.Actor, org ids.Org, name string, when time.Time) error {
	return s.db.change(ctx, "delete server of tools "+name, func(tx *gorm.DB) error {
		row, found, err := s.lockToolServer(tx, org, name)
		if err != nil {
			return err
		}
		if !found {
			return notFound("tool_server", name)
		}
		if err := tx.Delete(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "tool_server.delete", row.subject(), row.entry(), nil, when)
	})
}

// ToolServers implements product.ToolServerStore.
func (s *Product) ToolServers(ctx context.Context, org ids.Org) ([]product.ToolServer, error) {
	var rows []toolServerRow
	if err := s.db.read.WithContext(ctx).Where("org_id = ?", org).Order("name").Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list servers of tools")
	}
	servers := make([]product.ToolServer, len(rows))
	for i, row := range rows {
		servers[i] = toolServerFromRow(row)
	}
	return servers, nil
}
