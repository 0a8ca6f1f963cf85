package store

import (
	"context"
	"encoding/json"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.ToolApprovalStore = (*Runs)(nil)

// toolApprovalRow is what somebody is asked about a call of a tool.
type toolApprovalRow struct {
	ID          string `gorm:"primaryKey"`
	RunID       string
	Attempt     int
	CallKey     string
	Server      string
	Tool        string
	Arguments   string
	RequestedAt stamp
	Deadline    stamp
	Decision    string
	DecidedBy   string
	Note        string
	DecidedAt   stamp
	UsedAt      stamp
}

func (toolApprovalRow) TableName() string { return "tool_approvals" }

func rowFromToolApproval(a product.ToolApproval) toolApprovalRow {
	return toolApprovalRow{
		ID: string(a.ID), RunID: string(a.RunID), Attempt: a.Attempt, CallKey: a.Key(), Server: a.Server, Tool: printable(a.Tool),
		Arguments: printable(string(a.Arguments)), RequestedAt: at(a.RequestedAt), Deadline: at(a.Deadline),
		Decision: string(a.Decision), DecidedBy: a.DecidedBy, Note: printable(a.Note), DecidedAt: at(a.DecidedAt), UsedAt: at(a.UsedAt),
	}
}

func toolApprovalFromRow(r toolApprovalRow) product.ToolApproval {
	return product.ToolApproval{
		ID: ids.ToolApproval(r.ID), RunID: ids.Run(r.RunID), Attempt: r.Attempt, Server: r.Server, Tool: r.Tool,
		Arguments: json.RawMessage(r.Arguments), RequestedAt: r.RequestedAt.t, Deadline: r.Deadline.t,
		Decision: product.Decision(r.Decision), DecidedBy: r.DecidedBy, Note: r.Note, DecidedAt: r.DecidedAt.t, UsedAt: r.UsedAt.t,
	}
}

// approvalsOf are the approvals of a run, newest first, in a transaction that has locked
// it.
func approvalsOf(db *gorm.DB, run ids.Run) ([]product.ToolApproval, error) {
	var rows []toolApprovalRow
	if err := db.Where("run_id = ?", run).Order("id DESC").Find(&rows).Error; err != nil {
		return nil, err
	}
	approvals := make([]product.ToolApproval, len(rows))
	for i, row := range rows {
		approvals[i] = toolApprovalFromRow(row)
	}
	return approvals, nil
}

// AskForTool implements product.ToolApprovalStore.
func (s *Runs) AskForTool(ctx context.Context, a product.ToolApproval) (product.ToolApproval, error) {
	row, result := rowFromToolApproval(a), product.ToolApproval{}
	_, err := s.db.updateRun(ctx, "ask about a call of run "+row.RunID, a.RunID, func(r *product.Run) ([]*product.Event, error) {
		return nil, r.Open(a.Attempt)
	}, func(tx *gorm.DB, c *runChange) (func() error, error) {
		before, err := approvalsOf(tx, a.RunID)
		if err != nil {
			return nil, err
		}
		for _, b := range before {
			if b.Attempt == a.Attempt && b.Key() == row.CallKey && b.Answers(a.RequestedAt) {
				result = b
				return nothing, nil
			}
		}
		if len(before) >= product.MaxToolApprovals {
			return nil, refuse(fault.Newf(fault.RateLimited, "too_many_approvals", "a run asks people about at most %d calls", product.MaxToolApprovals))
		}
		if a.Deadline.After(c.run.WaitingUntil) {
			c.run.WaitingUntil = a.Deadline
		}
		c.events = append(c.events, &product.Event{
			Type: product.EventToolApprovalRequested, At: a.RequestedAt, Attempt: a.Attempt, Message: a.Server + "/" + a.Tool,
		})
		result = toolApprovalFromRow(row)
		return nothing, tx.Create(&row).Error
	})
	return result, err
}

// useToolApproval lets one call have what was agreed to.
const useToolApproval = `UPDATE tool_approvals SET used_at = ? WHERE id = ? AND decision = 'approved' AND used_at IS NULL`

// UseToolApproval implements product.ToolApprovalStore.
func (s *Runs) UseToolApproval(ctx context.Context, a product.ToolApproval, when time.Time) (bool, error) {
	used := false
	err := s.whileOpen(ctx, "use approval "+string(a.ID), a.RunID, a.Attempt, func(tx *gorm.DB) error {
		update := tx.Exec(useToolApproval, at(when), a.ID)
		used = update.RowsAffected == 1
		return update.Error
	})
	return used && err == nil, err
}

// DecideTool implements product.ToolApprovalStore.
func (s *Runs) DecideTool(ctx context.Context, by audit.Actor, run ids.Run, id ids.ToolApproval, d product.Decision, note string, when time.Time) (product.ToolApproval, error) {
	var decided product.ToolApproval
	_, err := s.db.updateRun(ctx, "decide about a call of run "+string(run), run, func(*product.Run) ([]*product.Event, error) {
		return nil, nil
	}, func(tx *gorm.DB, c *runChange) (func() error, error) {
		all, err := approvalsOf(tx, run)
		if err != nil {
			return nil, err
		}
		var waiting time.Time
		decided = product.ToolApproval{}
		for _, a := range all {
			switch {
			case a.ID == id:
				decided = a
			case a.Waits(when) && c.run.Open(a.Attempt) == nil && a.Deadline.After(waiting):
				waiting = a.Deadline
			}
		}
		if decided.ID == "" {
			return nil, refuse(notFound("tool_approval", string(id)))
		}
		if decided.Decision != d {
			if err := c.run.Open(decided.Attempt); err != nil {
				return nil, refuse(fault.New(fault.Conflict, "not_waiting", "the call does not wait any more: the attempt has ended"))
			}
		}
		changed, err := decided.Decide(d, by.ID, note, when)
		if err != nil || !changed {
			return nothing, refuse(err)
		}
		c.run.WaitingUntil = waiting
		c.events = append(c.events, decisionEvent(decided))
		row := rowFromToolApproval(decided)
		decided = toolApprovalFromRow(row)
		if err := tx.Select("decision", "decided_by", "note", "decided_at").Updates(&row).Error; err != nil {
			return nil, err
		}
		entry := map[string]string{"run": row.RunID, "server": row.Server, "tool": row.Tool, "decision": row.Decision}
		return nothing, writeAudit(tx, by, c.run.OrgID, "tool.decide", row.ID, nil, entry, when)
	})
	return decided, err
}

func decisionEvent(a product.ToolApproval) *product.Event {
	event := product.Event{Type: product.EventToolApproved, At: a.DecidedAt, Attempt: a.Attempt, Message: a.Server + "/" + a.Tool}
	if a.Decision == product.DecisionDenied {
		event.Type = product.EventToolDenied
	}
	if a.Note != "" {
		event.Message += ": " + a.Note
	}
	return &event
}

// ToolApprovals implements product.ToolApprovalStore.
func (s *Runs) ToolApprovals(ctx context.Context, run ids.Run) ([]product.ToolApproval, error) {
	found, err := approvalsOf(s.db.read.WithContext(ctx), run)
	return found, s.db.interpret(err, "list approvals of run "+string(run))
}

const selectToolDecisions = `SELECT id, decision FROM tool_approvals WHERE id IN ? AND decision <> ''`

// ToolDecisions implements product.ToolApprovalStore.
func (s *Runs) ToolDecisions(ctx context.Context, list []ids.ToolApproval) (map[ids.ToolApproval]product.Decision, error) {
	var rows []struct {
		ID       ids.ToolApproval
		Decision product.Decision
	}
	err := s.db.read.WithContext(ctx).Raw(selectToolDecisions, list).Scan(&rows).Error
	decisions := make(map[ids.ToolApproval]product.Decision, len(rows))
	for _, row := range rows {
		decisions[row.ID] = row.Decision
	}
	return decisions, s.db.interpret(err, "find decisions")
}
